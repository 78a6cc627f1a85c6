"""What an exploration looks like: pictures, prose, programs and files drawn from the plain data of `race/model.py`.

Analysis has ended before anything here begins. Every view reads the same `Story` (`views/story.py`): which lanes, which
events, where the failing and the passing run part, which edge is missing. So the picture, the terminal's text and the prose
number the same events in the same way.
"""

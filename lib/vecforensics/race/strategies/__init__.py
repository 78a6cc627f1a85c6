"""Ways to walk through schedules, one a file, behind the seam of `lab.py`."""

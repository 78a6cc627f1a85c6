from __future__ import annotations


class Dpor:
    name = "dpor"

    def __init__(self):
        self.complete = False

    def step(self, lab):
        return None

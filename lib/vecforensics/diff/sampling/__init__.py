"""When embedding again is expensive: some contents are looked at, and how many are wrong comes with an interval."""

"""When and by whom was each row written? What logs and the target's metadata say of it, row by row (`writes.py`)."""

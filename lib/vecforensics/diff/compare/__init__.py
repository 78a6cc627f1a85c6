"""Bucket by bucket: what differs, and what each row that differs is in itself."""

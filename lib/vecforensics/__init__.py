"""Forensics for vector migrations that went wrong."""

"""Not there, or not there yet? What is young is looked at once more before anything is said of it."""

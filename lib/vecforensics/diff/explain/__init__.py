"""Over a whole collection: one best explanation for each row that differs, and for what stands under no record's id."""

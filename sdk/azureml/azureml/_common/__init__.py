"""Where the vendor's package keeps its base classes; here for those who import them from this place."""

"""What every verb takes and returns."""

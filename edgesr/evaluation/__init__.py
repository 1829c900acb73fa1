"""What networks cost, and how good they are."""

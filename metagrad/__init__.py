"""metagrad."""

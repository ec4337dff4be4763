"""Rules around other rules, one file each."""

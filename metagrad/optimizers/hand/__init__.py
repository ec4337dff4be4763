"""Rules designed by hand, one file each."""

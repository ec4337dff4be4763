"""Rules whose update is a network, one file each."""

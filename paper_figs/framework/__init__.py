"""What all figures share: reading results, style, saving, the report and the command line."""

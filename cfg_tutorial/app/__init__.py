"""What a person starts: the command line, the atlas and the doctor. Knows no mathematics."""

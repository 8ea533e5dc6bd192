"""Files of completions that other programs write, one reader per family, recognised by what is in the file."""

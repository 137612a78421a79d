"""Results on their way out: names, folders and ZIP files, bags, and PREMIS events."""

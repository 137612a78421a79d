"""What strangers send, read with care: notifications, image headers, object metadata."""

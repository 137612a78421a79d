"""The domain: uploads, their ids, keys, documents, messages, attempts and events."""

"""Results and originals for IIIF viewers: tiles by ranged reads of a pyramid, and manifests."""

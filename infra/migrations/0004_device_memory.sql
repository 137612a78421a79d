-- How much memory a photo took on the GPU; the host's alone says little there.

ALTER TABLE darkroom.restoration_log ADD COLUMN peak_device_memory_bytes bigint;

COMMENT ON COLUMN darkroom.restoration_log.peak_device_memory_bytes IS 'Most memory in use on a GPU; empty on the CPU.';

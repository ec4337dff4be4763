"""A stand-in for CuPy without a device: as strict as CuPy is, and it counts what waits for the device."""

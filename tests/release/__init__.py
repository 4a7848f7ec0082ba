"""What users install, built and tried as they would: `make dist`."""

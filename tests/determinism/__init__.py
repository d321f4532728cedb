"""Whether one result comes out on every platform: models run under emulated processors, held against the specification."""

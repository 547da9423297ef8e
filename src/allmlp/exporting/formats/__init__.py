"""The formats of bundles, one file each, behind one interface."""

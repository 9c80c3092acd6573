"""The commands of `spice`, a file each: options in, stages called, results said."""

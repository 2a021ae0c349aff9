"""Reading what teams keep in files: manifests, charts, corrections, waivers, changelogs."""

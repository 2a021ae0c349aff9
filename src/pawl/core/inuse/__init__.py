"""What is in use on the hosts: flags, configuration files, variables, each with its file and line.

    texts of files ──units, env, manifests, documents──> HostUse ──checks/in_use──> findings

The reading is `pawl.adapters.hosts.inuse`; here are only the facts and how texts become facts.
"""

"""What depends on the Kubernetes API: who may call it, what runs there, and whether it goes along.

`facts` is what was read, `assemble` turns it into the list, `compat` judges each hop, `judge` says
what a person must know, `render` writes it down. docs/inventory.md describes the whole.
"""

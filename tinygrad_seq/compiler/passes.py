from .program import Program
def optimized(p: Program) -> Program: return p

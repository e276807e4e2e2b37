"""Programs run by machine code: fusion, code generation by LLVM, matrix products, threads."""

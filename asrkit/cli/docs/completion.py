SHELLS = {}
def script(shell, tree): return ""

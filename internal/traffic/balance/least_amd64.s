#include "textflag.h"

// func lowestWord(w *pool.Block, chance uint32) uint32
//
// Words are numbers above 0 as float32 as well, which every amd64 compares four at a time; the lesser of
// integers came with a later extension.
TEXT ·lowestWord(SB), NOSPLIT, $0-20
	MOVQ   w+0(FP), AX
	MOVSS  chance+8(FP), X4
	SHUFPS $0x00, X4, X4
	MOVOU  (AX), X0
	MOVOU  16(AX), X1
	MOVOU  32(AX), X2
	MOVOU  48(AX), X3
	PXOR   X4, X0
	PXOR   X4, X1
	PXOR   X4, X2
	PXOR   X4, X3
	MINPS  X1, X0
	MINPS  X3, X2
	MINPS  X2, X0
	PSHUFD $0x4e, X0, X1
	MINPS  X1, X0
	PSHUFD $0xb1, X0, X1
	MINPS  X1, X0
	MOVSS  X0, ret+16(FP)
	RET

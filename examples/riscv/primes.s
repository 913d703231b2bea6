# The prime numbers below the word at 0x3fc: from 0x200 on, how many at 0x3f8.
        lw    x1, 0x3fc(x0)     # the limit
        addi  x2, x0, 0x200     # where the next one goes
        addi  x3, x0, 2         # the number that is looked at
next:
        bge   x3, x1, done
        addi  x4, x0, 2         # what may divide it
try:
        beq   x4, x3, prime
        addi  x5, x3, 0         # the remainder, by subtracting
subtract:
        sub   x5, x5, x4
        blt   x0, x5, subtract
        beq   x5, x0, skip      # it divides
        addi  x4, x4, 1
        jal   x0, try
prime:
        sw    x3, 0(x2)
        addi  x2, x2, 4
skip:
        addi  x3, x3, 1
        jal   x0, next
done:
        addi  x2, x2, -0x200
        srli  x2, x2, 2
        sw    x2, 0x3f8(x0)
        ecall

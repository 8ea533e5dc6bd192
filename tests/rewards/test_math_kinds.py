r"""Kinds of answers that the math verifier once judged wrongly, each with right and wrong variations.

A row is `gold <- answer`. Every kind has neighbours on the other side: what looks like it and is wrong, or is right.
Beside the rows here are those of tests/files/math_cases_2.jsonl. Their truth was decided before anything was run; about
90 come from issues and tests of other graders (`source`), the rest are our own. `was` is the verdict of version 5.
Run: python -m pytest tests/rewards/test_math_kinds.py
"""

# ruff: noqa: RUF001 (characters that look like others are the subject of this file)
from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem, Reason
from tests.support.math_pairs import judged

CASES = [json.loads(line) for line in (Path(__file__).parents[1] / "files/math_cases_2.jsonl").read_text().splitlines()]
REFUSED = {
    "t0350": "a set of two numbers for two ordered pairs",
    "t0422": "dots between factors: which are left out is not read",
}
"""Right answers of the case file that are refused, and why."""

WRONG = {
    "words after a number that are no units": r"""
8 <- 8\text{ sevenths}
8 <- 8\text{ point five}
8 <- 8\text{ less three}
8 <- 8\text{ in binary}
8 <- 8\text{ guess}
8 <- 8\text{ grand}
3 <- 3\text{ quarters}
8 <- 8\text{ fifths}
8 <- 8\text{ ninths}
8 <- 8\text{ twelfths}
8 <- 8\text{ over three}
8 <- 8\text{ over}
8 <- 8\text{ more than that}
8 <- 8\text{ add two}
8 <- 8\text{ take away one}
8 <- 8\text{ by nine}
8 <- 8\text{ and a half}
8 <- 8\text{ and one}
8 <- 8\text{ and a bit}
8 <- 8\text{ or so}
8 <- 8\text{ hex}
8 <- 8\text{ in hexadecimal}
8 <- 8\text{ octal}
8 <- 8\text{ root two}
8 <- 8\text{ root}
8 <- 8\text{ squares of two}
8 <- 8\text{ to the fourth}
8 <- 8\text{ to the power two}
8 <- 8\text{ raised to three}
8 <- 8\text{ choose two}
8 <- 8\text{ something}
8 <- 8\text{ I think}
8 <- 8\text{ probably}
8 <- 8\text{ ish}
8 <- 8\text{ almost}
8 <- 8\text{ at least}
8 <- 8\text{ at most}
8 <- 8\text{ to nine}
8 <- 8\text{ through ten}
8 <- 8\text{ nine}
8 <- 8\text{ hundredweight}
8 <- 8\text{ pair of two}
8 <- 8\text{ tens}
8 <- 8\text{ googol}
8 <- 8\text{ k}
8 <- 8\text{ baker's dozen}
8 <- 8\text{ myriads}
8 <- 8\text{ per mille}
8 <- 8\text{ halves}
8 <- 8\text{ factorial}
8 <- 8\text{ and nine}
8 <- 8\text{ except one}
8 <- 8\text{ remainder one}
8 <- 8\text{ r 1}
8 <- 8\text{ dot five}
8 <- 8\text{ decimal five}
8 <- 8\text{ recurring}
8 <- 8\text{ repeated}
8 <- 8\text{ sqrt}
8 <- 8\text{ theta}
8 <- 8\text{ degrees of nothing maybe}
8 <- 8\text{ in}\text{ binary}
8 <- 8\text{ apples less three}
8 <- 8\text{ minus}
8 <- 8\mathrm{th root}
8 <- 8\text{ m or }9\text{ m}
""",
    "units again and again": "5 <- 5" + r"\text{ m}" * 100 + r"""
5 <- 5\text{ m}\text{ m}
5 <- 5\text{ m m m m m m}
5 <- 5\text{ cm}\text{ apples}\text{ cm}
""",
    "letters that are variables, not units": r"""
5 <- 5x
5 <- 5t
5 <- 5m
5 <- 5 m
5 <- 5h
5 <- 5K
5h <- 5\,h^2
5 <- 5\ \omega
5 <- 5\mu
5 <- 5\ \mu
5 <- 5\ \Omega^2 x
5 <- 5 \lambda
3 <- 3\,\mathrm{M}
3 <- 3\text{ M}
3x <- 3
300 <- 300 K_1
5 <- \Omega
""",
    "another unit": r"""
5\text{ km} <- 5\ \mathrm{cm}
5\ \Omega <- 5\text{ k}\Omega
5\ \mu\text{m} <- 5\text{ mm}
5\ \mu\text{m} <- 5\text{ m}
300\text{ K} <- 300\text{ kg}
10\text{ h} <- 10\text{ minutes}
10\text{ h} <- 10\,s
5\,K <- 5\,h
5\text{ miles} <- 5\textnormal{ km}
5\text{ dollars} <- EUR 5
5\text{ \AA} <- 5\text{ nm}
""",
    "names dropped on one side": r"""
(1,2) <- x=1, x=2
(1,2) <- x=1 \text{ or } x=2
(1,2) <- x=1 \text{ and } x=2
(1,2,3) <- x=1,x=2,x=3
x=1,y=2 <- y=1,y=2
x=1,y=2 <- x=1,x=2
x=1,y=2 <- z=1,z=2
a=1,b=2,c=3 <- n=1, n=2, n=3
a=1,b=2,c=3 <- a=1, a=2, a=3
(1,2) <- n\in\{1,2\}
(1,2) <- x_1=1 \text{ or } x_1=2
[1,2] <- x=1,x=2
x=1,x=2 <- (1,2)
x=1,x=2 <- x=1,y=2
1,2 <- y=1,x=2
x=1,y=2 <- x=1
x=1,y=2 <- x=2,y=1
x=1,y=2 <- (x,y)=(2,1)
x=1,y=2 <- a=1,b=2,c=3
x=1,x=2 <- y=1,y=2
""",
    "signs of approximation": r"""
8 <- 8≅9
8 <- 8≃9
8 <- 8\cong 9
8 <- 8\simeq 9
8 <- 8\sim 9
8 <- 8∼9
8 <- 8\doteq 9
8 <- 8≐9
8 <- 8≒9
8 <- 8\approxeq 9
8 <- 8\thickapprox 9
8 <- 8\thicksim 9
8 <- 8 ≈ 9
8 <- 9 \cong 8
8 <- 9≅8
8 <- 8\fallingdotseq 9
8 <- 8\asymp 9
8 <- 8\propto 9
8 <- 8≡9
8 <- 8\equiv 9
8 <- 8 ≊ 9
8 <- 8 ≏ 9
8 <- 8 ∝ 9
8 <- 8 ⇒ 9
8 <- 8 → 9
8 <- 8 \mapsto 9
8 <- 8 \lesssim 9
8 <- 8 \gtrsim 9
8 <- 8 \ll 9
8 <- 8 \gg 9
8 <- 8 ≪ 9
8 <- 8 \prec 9
8 <- 8 \perp 9
8 <- 8 \parallel 9
8 <- 8 \mid 9
8 <- 8 \nmid 9
8 <- 8 \bullet 9
8 <- 8 \circ 9
8 <- 8 \oplus 9
8 <- 8 ⊕ 9
8 <- 8 \vee 9
8 <- 8 \wedge 9
8 <- 8 \lor 9
8 <- 8 \land 9
8 <- 8 \& 9
8 <- 8 & 9
8 <- 8 # 9
8 <- 8 @ 9
8 <- 8 \text{~} 9
8 <- 8 \stackrel{?}{=} 9
8 <- 8 \neq 9
8 <- 8 \leftrightarrow 9
8 <- 8 \iff 9
\triangle ABC \cong \triangle DEF <- \triangle ABC \sim \triangle DEF
""",
    "option letters": r"""
\frac{1}{2} <- \textbf{(D)}\ \frac{1}{3}
12 <- \textbf{(C)}\ 13
12 <- \textbf{(C)}\ 12 \textbf{(D)}\ 13
\textbf{(B)}\ 12 <- \textbf{(C)}\ 12
\textbf{(B)}\ 12 <- \textbf{(B)}\ 13
\textbf{(B)}\ 12 <- C
\textbf{(B)}\ 12 <- 13
B <- \textbf{(C)}\ 12
B <- \textbf{(B)} \text{ or } \textbf{(C)}
B <- \text{B or C}
B <- \text{(B) is wrong}
B <- \text{not (B)}
B <- A. B
B <- (A) B
B <- \text{(A) B}
B <- (B), (C)
C <- \text{Choice D}
C <- \text{Choice C or D}
12 <- \text{Choice 12 or 13}
C <- D. x = 42
C <- C = 42
C <- Cx
C <- C \cdot 2
C <- 2C
C <- C + 1
\textbf{(B)}\ 12 <- \textbf{(B)}\ 12 \text{ or } 13
12 <- C
A <- (\text{B})
12 <- (C)+12
12 <- (C) + 12
-12 <- (C) - 12
C <- (C) w
C <- (C) +1
C <- C!
C <- (C)!
12 <- (-1) 12
12 <- (2) 12
3 <- (A) 3 = 4
""",
    "names without backslash": r"""
\frac{5\pi}{6} <- 5pi/3
\frac{5\pi}{6} <- 5p/6
\ln 5 <- ln(6)
\ln 5 <- log(5)/2
e^{-2} <- exp(2)
x^2 <- x**3
x^2-1 <- x**2 + 1
\theta <- thet
\theta <- phi
2\pi <- pi
\sin x <- sinh x
\sin x <- cos x
(-\infty, 3] <- (-oo, 3)
(-\infty, 3] <- (oo, 3]
\lfloor x \rfloor <- ceil(x)
1+2i <- 1-2*I
\log_2 3 <- log_3(2)
\sqrt{2} <- sqrt{3}
\frac{\sqrt{3}}{2} <- sqrt(3)/4
x^{10} <- x**1*0
\pi <- p*i
O(\log \log n) <- Theta(log log n)
\sqrt{2} <- sqr(2)
|x| <- x
\frac{1}{2} <- 1//3
5 <- 5pi
5 <- 5 inf
""",
    "quantities left of the equals sign": r"""
7 <- [ABC] = 8
7 <- x^2+y^2 = 8
7 <- -x = 7
7 <- 2x+z=7
7 <- 3x - 2 = 7
7 <- x+1=7
7 <- x^2+1=7
7 <- x^2+2x+1=7
7 <- 8 = 7
7 <- \sqrt{2}=7
7 <- x = 8 = 7
7 <- x=7, y=8
85 <- m\angle 2 = 86^\circ
85 <- m\angle 2 = 85^\circ = 86^\circ
7 <- \sum a_i = 8
7 <- f^{-1}(3) = 8
7 <- x \ne 7
7 <- 7 = 8
7 <- n \equiv 8 \pmod{12}
7 <- n \not\equiv 7 \pmod{12}
7 <- 7 \pmod{12}
142 <- 143\text{ (mod 1000)}
7 <- \text{The answer is 8}
7 <- \text{The answer is 7 or 8}
7 <- \text{The answer is not 7}
7 <- \text{The answer isn't 7}
7 <- \text{The answer is less than 7}
x^2 <- x^2 = 7
x <- 2x = 7
7 <- [8,7]
7 <- a=b, b=7
""",
    "a bend far from where values are compared": r"""
2x+3 <- |2x+3|
|2x+3| <- 2x+3
10-x <- |x-10|
|x-10| <- 10-x
10-x <- \sqrt{(x-10)^2}
x+20 <- \sqrt{x^2+40x+400}
""",
    "brackets around one value, and vectors": r"""
7 <- [7]
7 <- x=[7]
7 <- \{[7]\}
7 <- [7)
7 <- \langle 7\rangle
\frac12 <- [\frac12]
\frac{n}{2} <- [\frac{n}{2}]
[\frac{n}{2}] <- \frac{n}{2}
\left[\frac{n}{2}\right]+1 <- \frac{n}{2}+1
(1,2) <- \langle 2,1\rangle
(1,2) <- \langle 1,2,0\rangle
(1,2) <- <2,1>
\vec v=(1,2) <- \langle 2,1\rangle
\vec v=(1,2) <- [1,2]
\langle 1,2\rangle <- \{1,2\}
7 <- 7\%\%
5\% <- 500
5 <- 0.05\%
""",
    "glyphs": r"""
\epsilon_0 <- \epsilon_1
\varepsilon <- \eta
\hbar <- h
\frac{\hbar}{2m} <- \frac{h}{2m}
\vec{v} <- \vec{u}
\ell <- \ell^2
\ell <- 1
\ell <- I
\mathbb{N} <- Z
\mathbb{N} <- \mathbb{Z}
\mathbb{Z}^{+} <- \mathbb{Z}
\mathbb{Z}^{+} <- \mathbb{Z}_{\ge 0}
x^{*} <- x
x^{*} <- x^2
\varphi-\phi <- 0
\varphi+\phi <- 2\phi
10 \hat{i}+5\hat{j} <- 10\hat{j}+5\hat{i}
10 \hat{i}+5\hat{j} <- 15
\mathcal{O}(n) <- O(n^2)
""",
    "subscripts": r"""
m_e c^2 <- m_p c^2
m_e c^2 <- m c^2
m_e c^2 <- m e c^2
v_{\text{max}} <- v_{\text{min}}
v_{\text{max}} <- v
E_{\text{total}} <- E_{\text{tot}}
R_{\oplus} <- R_{\odot}
\rho_{\text{water}} g h <- \rho_{\text{oil}} g h
x_1+x_2 <- x_1+x_3
x_1 - x_2 <- x_2 - x_1
x_1 <- x1
x_{12} <- x_1 2
a_{n+1} <- a_n + 1
V_A-V_B <- V_B-V_A
m_e <- m_E
k_B T <- k_b T
\frac{m_1}{m_2} <- 1
\sum_{k=0}^{n} F_k <- (n+1)F_k
""",
    "several named solutions": r"""
(2,3),(3,2) <- x=2,y=3
(2,3),(3,2) <- x=2,y=3 \text{ or } x=3,y=3
(2,3),(3,2) <- x=2,y=3,x=3
(2,3),(4,5) <- y=2,x=3 \text{ or } y=4,x=5
(2,3),(4,5) <- x=2,y=5 \text{ or } x=4,y=3
p=5,q=2;p=7,q=2 <- (5,2),(2,7)
p=5,q=2;p=7,q=2 <- (5,2)
p=5,q=2;p=7,q=2 <- q=5,p=2;q=7,p=2
p=5,q=2;p=7,q=2 <- 5,2,7,2
x=y=z=1 <- (1,1,2)
x=y=z=1 <- (1,1)
x=y=z=1 <- x=y=1
a=b=c <- a=b
a=b=c <- a=b=d
a=b=c <- a=b=2c
x_1=2, x_2=-3 <- 2, 3
x_1=2, x_2=-3 <- x_1=-2,x_2=3
-5, \frac{14}{3} <- x = -5,\ p = \frac{13}{3}
-5, \frac{14}{3} <- x = -5
(1,2) <- x=1,y=2,z=3
(2,3),(3,2) <- 2,3,3,2
""",
    "functions": r"""
f(x)=x^2 <- f(t)=t^3
f(x)=x^2 <- f(t)=x^2
f(x)=x^2 <- g(x)=x^3
f(x)=cx <- f(x)=kx^2
f(x)=cx <- f(x)=cx+k
f(x)=cx <- f(x)=x
f(x)=cx <- f(x)=2x
f(x)=cx <- f(x)=-cx^3
f(x)=cx <- f(x)=ak x
f(x)=0 <- f \equiv 1
f(x)=x <- f(x)\equiv 2x
y=x^2+2x <- f(x)=x^2+3x
f(x)=2x^3+c <- 2x^3 \text{ for any real constant } c
f(x)=2x^3+c <- 3x^3+c \text{ for any real constant } c
f(x)=2x^3+c <- f(x)=2x^3+x
\frac{x^3}{3}+C <- \frac{x^3}{3}+x
x^2+k <- x^2+n
mx <- nx
f(x)=x^2, x>0 <- f(x)=x^2, x<0
x^2+c <- x^2+1
""",
    "intervals": r"""
(-2,2) <- |x|<3
(-2,2) <- |x|\le 2
(-2,2) <- |x|>2
(-2,2) <- |x-1|<2
(-\infty,-2)\cup(2,\infty) <- |x|<2
(-\infty,-2)\cup(2,\infty) <- |x|\ge 2
(1,2) <- ]1,2]
(1,2) <- [1,2[
[1,2] <- ]1,2[
(1,2] <- ]1,2[
(1,\infty) <- \{x \mid x \ge 1\}
(1,\infty) <- \{x \mid x < 1\}
(1,\infty) <- \{x \mid x > 2\}
(1,\infty) <- \{x \in \mathbb{Z} \mid x > 1\}
(1,\infty) <- \{x \in \mathbb{N} : x > 1\}
(1,\infty) <- \{x^2 \mid x > 1\}
\{x|0<x<1\} <- 0<x\le 1
\{x|0<x<1\} <- [0,1]
\mathbb{R}\setminus\{0\} <- x\neq 1
\mathbb{R}\setminus\{0\} <- \mathbb{R}
\mathbb{R}\setminus\{0\} <- x=0
\mathbb{R}\setminus\{0,1\} <- x\ne 0
\mathbb{R}\setminus\{0,1\} <- x\ne 0, x\ne 2
\mathbb{Z}\setminus\{0\} <- x\ne 0
x\ne 0 <- \mathbb{R}\setminus\{1\}
(-\infty,0)\cup(0,\infty) <- \mathbb{R}\setminus\{1\}
(-\infty,0)\cup(0,\infty) <- \mathbb{R}\setminus[0,1]
(1,2) <- \{1 \mid 2\}
1 <- \{x \mid x=2\}
(1,2) <- (1,2)\setminus\{1.5\}
""",
    "spaces, rows and labels": r"""
3, -5 <- 3 \quad \text{or} \quad 5
3 <- 3 \quad \text{and} \quad 5
3 <- 3 \quad \text{or} \quad 5
3 <- 3 \quad 5
x=\frac{1}{2}, y=3 <- x=\frac{1}{2}\quad y=4
7 <- x=7 \quad y=8
x=1,y=2 <- \begin{aligned} x&=1\\ y&=3\end{aligned}
x=1,y=2 <- \begin{cases} x=2\\ y=1\end{cases}
1 <- \begin{cases} x=1\\ y=2\end{cases}
1 <- \begin{aligned} x&=1\\ &=2\end{aligned}
7 <- \begin{aligned} x&=3+5\\ &=7\end{aligned}
7 <- \begin{aligned} 7\\ 8\end{aligned}
8 <- **9**
8 <- **8** **9**
8 <- 8**9
8 <- 2**8
7 <- \text{Answer: 8}
7 <- \text{x = 8}
7 <- \text{7 or 8}
7 <- \text{Answer: 7 or 8}
3:4 <- 4 \text{ to } 3
3:4 <- 3 \text{ to } 5
3 <- 3 \text{ to } 4
""",
    "number words": r"""
5 <- \text{six}
5 <- \text{five or six}
5 <- \text{not five}
5 <- \text{minus five}
5 <- \text{five hundred}
5 <- \text{five tenths}
5 <- \text{five point five}
5 <- \text{twenty-five}
25 <- \text{twenty}
25 <- \text{twenty six}
25 <- \text{twenty and five}
105 <- \text{one hundred five thousand}
0 <- \text{none of the above}
0 <- \text{zero point five}
1 <- \text{one of two}
1 <- \text{one half}
2 <- \text{two thirds}
5 <- \text{five squared}
5 <- \text{five dozen}
1 <- \text{one or more}
12 <- \text{one two}
12 <- \text{twelve less one}
50 <- \text{fifteen}
""",
    "words": r"""
\text{Yes} <- \text{No, it is not}
\text{Yes} <- \text{Yes, it is not}
\text{Yes} <- \text{Yes and no}
\text{Yes} <- \text{Yes or no}
\text{Yes} <- \text{Yes, but no}
\text{No} <- \text{Yes, it is}
\text{Alice} <- \text{Bob wins}
\text{Alice} <- \text{Alice loses}
\text{Alice} <- \text{Alice and Bob win}
\text{Alice} <- \text{Alice never wins}
\text{not possible} <- \text{possible}
\text{possible} <- \text{impossible}
\text{hyperbola} <- \text{a parabola}
\text{hyperbola} <- \text{not a hyperbola}
\text{hyperbola} <- \text{two hyperbolas}
\text{June 20} <- \text{21 June}
\text{June 20} <- \text{20 July}
\text{June 20} <- \text{June 2 0}
①③④ <- ①③
①③④ <- ①②④
①③④ <- ①, ④
①③④ <- 134
\text{oddd} <- odd
E <- \mathrm{E}*2
\text{even} <- \text{uneven}
""",
    "turned equations, integers, bound variables": r"""
5 = x <- 6
5 = x <- y = 5
5 = x <- x = 6
\lfloor n^2/4 \rfloor <- n^2/4
\lfloor n^2/4 \rfloor <- \lfloor n/2\rfloor^2
\lfloor x \rfloor <- x
\lfloor \frac{n}{2} \rfloor <- \frac{n}{2}
\lceil \frac{n}{2} \rceil <- \lfloor \frac{n}{2} \rfloor
\frac{(2n)!}{2^n n!} <- (2n-1)!
\frac{(2n)!}{2^n n!} <- (2n+1)!!
\frac{(2n)!}{2^n n!} <- (2n)!!
\sum_{k=0}^{\lfloor n/2\rfloor}\binom{n}{2k} <- 2^{n}
\sum_{k=0}^{\lfloor n/2\rfloor}\binom{n}{2k} <- 2^{n-1}+1
\sum_{i=0}^n \binom{n+1}{i} X^i <- (1+X)^{n+1}
\sum_{i=1}^{n}\frac{1}{i} <- \sum_{k=1}^n \frac{1}{k+1}
\sum_{i=1}^{n}\frac{1}{i} <- \sum_{k=1}^n \frac{1}{i}
\sum_{i=1}^{n}\frac{1}{i} <- \sum_{k=0}^n \frac{1}{k+1}
\left\lfloor \frac{2024!}{2027}\right\rfloor <- \frac{2024!}{2027}
(-1)^n <- 1
(-1)^n <- -1
\binom{n}{2} <- \frac{n^2}{2}
\frac{1+(-1)^n}{2} <- 1
\frac{n(n+1)}{2} <- \frac{n(n+1)}{2}+\sin(\pi n)+1
2^n <- n^2
n! <- n^n
x <- |x|
120 <- C_{10}^{4}
120 <- C_{3}^{10}
120 <- ^{10}C_4
120 <- P_{10}^{3}
720 <- C_{10}^{3}
30.5^\circ <- 30^\circ 50'
30^\circ 30' <- 30^\circ 31'
30^\circ 30' <- 30^\circ
30^\circ <- 30^\circ 30'
30^\circ 30' <- 30.3^\circ
30^\circ 30' <- 30' 30^\circ
""",
    "constants and empty forms": r"""
5 <- nan
5 <- inf
5 <- \infty
5 <- 0
5 <- \text{5}\text{6}
5 <- \{\}
5 <- ()
5 <- \text{}
5 <- \emptyset
5 <- 5, zzz
5 <- 5 zzz
5 <- zzz
5 <- 5 5
5 <- 5\;5
0 <- \text{nan}
1 <- \text{true}
x <- \text{x or y}
5 <- \boxed{5}\boxed{6}
5 <- \text{anything}
5 <- ?
5 <- 5?
5 <- \ldots
5 <- 5\ldots
5 <- [5]6
5 <- 5^5^0
5 <- 5\#
5 <- \frac{5}{}
5 <- \sqrt{}5
""",
    "a second round": r"""
8 <- 8\text{ eighths}
8 <- 8\text{ elevenths}
8 <- 8\text{ point 5}
8 <- 8\text{ point 25}
8 <- 8\text{ plus one}
8 <- 8\text{ times two}
8 <- 8\text{ over 3}
8 <- 8\text{ per nine}
8 <- 8\text{ in base 9}
8 <- 8\text{ base nine}
8 <- 8\text{ maybe nine}
8 <- 8\text{ close to it}
8 <- 8\text{ roughly}
8 <- 8\text{ approx}
8 <- 8\text{ units less three}
8 <- 8\text{ and 9}
8 <- 8\text{, 9}
8 <- 8\text{ ten}
8 <- 8\text{ zero}
8 <- 8\text{ hundred apples}
8 <- 8\text{ dozen apples}
8 <- 8\text{ apples and 3}
8 <- 8\text{ apples plus two oranges}
8 <- 8\text{ half}
8 <- 8\text{ negative}
8 <- \text{minus } 8
8 <- \text{negative } 8
8 <- \text{not } 8
8 <- \text{half of } 8
8 <- \text{twice } 8
8 <- \text{about } 8
8 <- \text{at least } 8
8 <- \text{more than } 8
8 <- \text{less than } 8
8 <- \text{three quarters of } 8
8 <- \text{square root of } 8
8 <- \text{the square of } 8
8 <- \text{the square root is } 8 \text{ squared}
8 <- \text{3 plus } 8
8 <- \text{3} 8
8 <- \text{log } 8
8 <- \text{sqrt } 8
8 <- \text{ceil} 8.5
8 <- \text{the answer is not } 8
8 <- \text{the answer is less than } 8
8 <- \text{one more than the answer is } 8
8 <- \text{double the answer is } 8
8 <- \text{the wrong answer is } 8
8 <- \text{A wrong value is } 8
8 <- \text{Bob thinks it is } 8
8 <- 8 \text{ is wrong}
8 <- 8\text{ mod }9
8 <- 8 \bmod 9
8 <- 8 \cdot
8 <- 8 \times
8 <- 8 +
8 <- 8 -
8 <- 8 / 
8 <- / 8
8 <- 8 ^
8 <- 8 \div
8 <- 8 \cap 9
8 <- 8 \setminus 9
8 <- 8 \subset 9
8 <- 8 \sqcup 9
8 <- 8 \ast 9
8 <- 8 \star 9
8 <- 8 * 9
8 <- 8 \diamond 9
8 <- 8 \square
8 <- 8 \hat{9}
8 <- 8 \overline{9}
8 <- 8 \vec{9}
8 <- \hat{8} 9
8 <- 8 \prime
8 <- 8 \angle 9
8 <- 8 \triangle 9
8 <- 8 \in 9
8 <- 9 \in 8
8 <- 8 \ni 9
8 <- 8 \models 9
8 <- 8 \vdash 9
8 <- 8 \therefore 9
8 <- 8 \because 9
8 <- 9 \therefore 8
8 <- 8 \overset{?}{=} 9
8 <- 8 \underset{x}{9}
8 <- 8 \substack{9}
8 <- 8 \hspace{1cm} 9
8 <- 8 \newline 9
8 <- 8 \text{ }9
8 <- 8 \mbox{} 9
8 <- 8 \label{9}
8 <- 8 \tag{9}
8 <- 8 \footnote{9}
8 <- 8 \cancel{9}
8 <- \cancel{8} 9
8 <- \cancel{8}
8 <- \xcancel{8}
8 <- \sout{8}
8 <- \not 8
8 <- \lnot 8
8 <- \neg 8
8 <- \sim 8
8 <- ¬8
8 <- !8
8 <- 8!
8 <- 8?
8 <- 8…
8 <- 8′
8 <- 8″
8 <- 8''
8 <- 8^{th}
8 <- 8th
8 <- 8^{\text{th}}
8 <- 8\text{th}
8 <- 8\text{th root of } 9
8 <- \sqrt[8]{}
8 <- 8e
8 <- 8i
8 <- 8j
8 <- 8\pi
8 <- 8\%5
8 <- 8‰
8 <- 8 ppm
8 <- 8 \text{ ppm}
8 <- 8 \text{ pp}
8 <- 8 bps
8 <- ⅛
8 <- 8½
8 <- 8⅝
8 <- 8⁄9
8 <- 8∕9
8 <- 8÷9
8 <- 8‒9
8 <- 8–9
8 <- 8—9
8 <- 8〜9
8 <- 8～9
8 <- 8、9
8 <- 8；9
8 <- 8／9
8 <- 8＋9
8 <- 8＝9
8 <- 8≠9
8 <- 8±9
8 <- 8∨9
8 <- 8∧9
8 <- 8⟹9
8 <- 8⇔9
8 <- 8∥9
8 <- 8⊥9
8 <- 8⋯9
8 <- 8•9
8 <- 8∙9
8 <- 8∗9
8 <- 8⊗9
8 <- 8≲9
8 <- 8≳9
8 <- 8≙9
8 <- 8≜9
8 <- 8≟9
8 <- 8:=9
8 <- 8==9
8 <- 8=:9
8 <- 8=>9
8 <- 8->9
8 <- 8<-9
8 <- 8<=>9
8 <- 8~=9
8 <- 8!=9
8 <- 8<>9
8 <- 8||9
8 <- 8&&9
8 <- 8//9
8 <- 8%%9
8 <- 8++
8 <- 8--
(1,2) <- x=1 \lor x=2
(1,2) <- x_1=1; x_1=2
(1,2) <- a=1,a=2
(1,2) <- \{x=1,x=2\}
(1,2) <- x\in\{1,2\}
(1,2) <- 1 \text{ or } 2
x=1,y=2 <- 2,1
x=1,y=2 <- x=y=1
x=1,y=2 <- x=1 \text{ or } y=2, x=3
x=1,y=2 <- \{1,2\}
x=1,y=1 <- 1
x=1,y=2 <- x=1,y=2,z=3
x=1,y=2 <- x=-1,y=-2
AB=4,CD=5 <- 5,4
AB=4,CD=5 <- AB=5,CD=4
AB=4,CD=5 <- AB=4,AB=5
f(x)=ax+b <- f(x)=ax
f(x)=ax+b <- f(x)=ax+a
f(x)=x^2 <- f(x^2)=x
f(x)=x^2 <- f(x)=2x
f(x)=kx^2 <- f(x)=kx
a_n=2^n <- a_n=2^{n-1}
a_n=2^n <- a_{n+1}=2^n
x=\frac{\pi}{4}+k\pi <- x=\frac{\pi}{4}+2k\pi, k\in\mathbb{Z}
x=\frac{\pi}{4}+k\pi <- x=\frac{\pi}{4}
\frac{\pi}{4}+k\pi, k\in\mathbb{Z} <- \frac{\pi}{4}+k\pi, k\in\mathbb{R}
(-1,1) <- |x|<2
(0,\infty) <- \{x : x \ge 0\}
(0,\infty) <- \mathbb{R}
(0,\infty) <- x \ne 0
[0,1) <- ]0,1]
\mathbb{R}\setminus\{-1,1\} <- x\ne 1
\mathbb{R}\setminus\{-1,1\} <- x \ne \pm 2
35 <- C_7^2
35 <- P_7^3
45^\circ 30' <- 45.3^\circ
45^\circ 30' <- 45^\circ 3'
\frac{2\pi}{3} <- 2pi/3 + 1
\frac{2\pi}{3} <- 3pi/2
\ln 5 <- ln 5x
e^x <- exp(-x)
\sqrt{3} <- sqrt(3)i
7 <- x^2-y^2 = 8
7 <- x+y = 7 = z = 8
7 <- (7,7)
12 <- (B) 12 or (C) 13
12 <- (B) 12, (C) 13
12 <- \text{(B) 12 or 13}
B <- \text{(B) or (C)}
B <- \text{B and C}
B <- \text{(A)(B)}
B <- AB
B <- \text{A, B}
B <- \text{neither B}
B <- \text{All but B}
B <- \text{(B)?}
B <- \text{B?}
B <- B'
B <- -B
B <- B^2
B <- \overline{B}
B <- \neg B
5\text{ cm} <- 5\text{ cm}^2
5\text{ m} <- 5\,\text{km}
5\ \Omega <- 5\text{ kg}
5 \text{ K} <- 5\text{ h}
5\text{ K} <- 5^\circ\text{C}
5\ \mu\text{m} <- 5\text{ nm}
5\text{ hours} <- 5 \text{ days}
5\text{ mg} <- 5\text{ g}
5\text{ W} <- 5\text{ kW}
5\text{ cups} <- 5\text{ pints}
5\text{ apples} <- 6\text{ apples}
m_e c^2 <- m_e^2 c
\epsilon_0 <- \mu_0
\varphi <- \psi
\vec{a} <- \vec{b}
\hat{i} <- \hat{j}
\mathbb{Z} <- \mathbb{Q}
\ell <- L
x=1 <- y=1
n^2 <- n^3
\lfloor n/2\rfloor <- \lceil n/2\rceil
\lfloor n/2\rfloor <- \lfloor (n+1)/2\rfloor
\binom{n}{k} <- \binom{k}{n}
\binom{n}{k} <- \frac{n!}{k!}
2^{n-1} <- 2^n-1
n! <- (n-1)!
n! <- n!!
\sum_{k=1}^n k <- \sum_{k=0}^{n-1} k
\sum_{k=1}^{n} \frac{1}{k} <- \sum_{k=2}^{n} \frac{1}{k}
""",
    "a third round": r"""
12 <- 12 \text{ hours } 5 \text{ minutes}
7 <- \text{Answer: } 7 \text{ or } 8
7 <- \text{it is } 7 \text{ or } 8
7 <- \text{The ratio is } 7:2
7 <- \text{The sum of 3 and } 7
7 <- \text{the number of wrong answers is } 7, 8
7 <- x = 8 \Rightarrow y = 7, 8
7 <- 8 \Rightarrow 7
7 <- x=7 \Rightarrow x = 8
7 <- x=8 \Rightarrow x = 7
7 <- x = 7 \Rightarrow y = 8
10 <- 10a+b=11
5 <- \text{five }\text{six}
5 <- \text{five}6
5 <- five six
5 <- \text{fivehundred}
21 <- \text{twenty one hundred}
120 <- \text{one hundred and twenty one}
1000 <- \text{one thousand one}
1,2 <- \text{one, three}
3 <- 3\,\mathrm{mm}/5
30^\circ <- 30'
30 <- 30'
30 <- 30''
1.5 <- 1^\circ 30
\frac{1}{2} <- \frac{1}{2}\text{ of } 3
\frac{1}{2} <- \frac{1}{2}\text{ of three}
20 <- 20\text{ percent of } 50
5 <- 5\text{ a}
5 <- 5\text{ A B}
5 <- 5\text{ in m}
5 <- 5\text{ of m of m}
5 <- 5\text{ m}\cdot 2
5 <- 5\text{ m}\times 2
5 <- 5\text{ m}+2
5 <- 5\text{ m}^{5}5
5 <- 5 \text{m}^3\text{m}^3
5 <- 5\text{ for }6
5 <- 5\text{ with remainder one}
5 <- 5\text{ left over one}
5 <- 5\text{ total of six}
5 <- 5\text{ numbers more}
5 <- 5\text{ points five}
5 <- 5\text{ point}
5 <- 5\text{ digits}\text{ 6}
5 <- 5\text{ times larger than six}
5 <- 5\text{ hours later than six}
5 <- 5\text{ square}
5 <- 5\text{ cube}
5 <- 5\text{ prime}
5 <- 5\text{ square root}
5 <- 5\text{ positive}
5 <- 5\text{ real}
5 <- 5\text{ complex}
5 <- 5\text{ multiple}
5 <- 5\text{ factor of six}
25 <- 5\text{ squares}^2
5 <- 5\mathrm{e}
5 <- 5\mathrm{E}3
5 <- 5\mathrm{k}
5 <- 5\text{k}
5 <- 5k
5 <- 5K
5 <- 5M
x <- x\text{ degrees less one}
x^2 <- x^2\text{ less one}
\sqrt2 <- \sqrt2\text{ thirds}
\frac{1}{2} <- \frac{1}{2}\text{ x}
(1,2) <- (1,2)\text{ or so}
7 <- P(A)=7=P(B)=8
7 <- [ABC]=7, [DEF]=8
7 <- \#S=7\#
7 <- f(7)
7 <- f(7)=8
7 <- x^{7}
7 <- \sum_{i=1}^7 i
28 <- \sum_{i=1}^7 i
7 <- \int_0^7 dx
7 <- \angle 7
7 <- \text{Figure } 7
7 <- \text{Option } 7
7 <- \text{Step } 7
7 <- \text{No. } 7
7 <- \text{Problem } 7
7 <- \#7
A <- \text{Not A}
A <- \text{A, B, C}
A <- \text{Choice A is wrong}
A <- \text{A is false}
A <- \text{A) or B)}
A <- (A) \text{ and } (B)
A <- \textbf{(A)} \textbf{(B)}
A <- A: B
A <- \text{Answer: A or B}
A <- \text{Answer: not A}
f(x)=cx <- f(x)=c
f(x)=cx <- f(x)=x^c
f(x)=cx <- f(x)=-x
f(x)=c <- f(x)=0
f(x)=0 <- f(x)=c
f(x)=x^2+c <- f(x)=x^2+2c
(0,1) <- 0<x<2
(0,1) <- ]0,2[
(0,\infty) <- ]0,\infty]
x=1,y=2 <- x=1,y=2 \text{ or } x=2,y=1
(2,3),(3,2) <- x=2,y=3 \text{ and } x=2,y=3
a=b=c <- a=b, c
a=b=c <- a\ne b=c
5=x <- x
\frac{n(n+1)}{2} <- \sum_{k=1}^{n} k
\lfloor n/2\rfloor <- \frac{2n-1}{4}
(-1)^n <- \cos(\pi n/2)
n^2 <- n^{2.000001}
n! <- \sqrt{2\pi n}(n/e)^n
2^n <- \lfloor 2^n \rfloor + \lfloor \frac{1}{n}\rfloor
\text{two} <- 3
\text{two circles} <- 2
\text{two circles} <- \text{three circles}
\text{June 20} <- \text{June 2}
\text{3 PM} <- 3
""",
}
RIGHT = {
    "a bend far from where values are compared": r"""
|x-10| <- |10-x|
|x-10| <- \sqrt{(x-10)^2}
|2x+3| <- 2|x+\frac32|
\sqrt{x+5} <- (x+5)^{1/2}
a\sqrt{b} <- \sqrt{a^2b}
""",
    "brackets around one value, and vectors": r"""
7 <- \{7\}
7 <- (7)
\vec v=(1,2) <- \langle 1,2\rangle
\vec v=(1,2) <- \vec{v}=\left\langle 1, 2\right\rangle
\overrightarrow{AB}=(1,2) <- \langle 1,2\rangle
\langle \frac12, 3\rangle <- \left( 0.5, 3 \right)
(1,2) <- <1,2>
(1,2) <- ⟨1,2⟩
[\frac{n}{2}] <- \lfloor \frac{n}{2}\rfloor
\left\lfloor\frac{n}{2}\right\rfloor+1 <- [n/2]+1
[\frac{n}{2}] <- \left[\frac{n}{2}\right]
2[x+1] <- 2x+2
\begin{pmatrix}1\\2\end{pmatrix} <- \left[\begin{array}{c}1\\2\end{array}\right]
5\% <- 5
5 <- 5\%
""",
    "units by name": r"""
5 <- 5\ \Omega
5 <- 5\text{ }\Omega
5 <- 5\ \mathrm{k\Omega}
5 <- 5 \, \mu\text{m}
5 <- 5\ \mu\mathrm{F}
5 <- 5\ \mu m
5 <- 5\ \text{μm}
450 <- 450 \text{ \AA}
450 <- 450\ \text{Å}
300 <- 300 K
300 <- 300\text{ K}
300 <- 300\,K
10 <- 10\,h
10 <- 10 h
10 <- 10\text{ h}
5e-5 <- 5 \times 10^{-5}\,\mathrm{M}
20 <- 20\text{ apples and oranges}
20 <- 20\text{ apples}
64 <- USD\ 64
64 <- \text{USD }64
64 <- EUR 64
18 <- 18 \text{ dollars each day}
1430 <- 1430 \text{ calories left}
\frac{3}{4} <- \frac{3}{4}\text{ of a mile}
125\text{ miles} <- 125\textnormal{ miles}
125 <- 125\textsf{ miles}
3 <- 3\text{ hours per day}
5 <- 5\text{ m/s}
5 <- 5\ \mathrm{kg\,m^2/s^2}
5 <- 5\ \mathrm{N\cdot m}
5 <- 5\text{ N m}
5 <- 5\text{ students}
5 <- 5\text{ people}
5 <- 5\text{ red marbles}
5 <- 5\text{ ways}
5 <- 5\text{ square units}
5 <- 5\text{ units}^2
5 <- 5\text{ cubic inches}
5 <- 5\text{ in.}
5 <- 5\text{ in}
5 <- 5\text{ years old}
5 <- 5\text{ slices of pizza}
5 <- 5\text{ cups of flour}
5 <- 5\text{ hours in total}
5 <- 5\text{ pages per day}
5 <- 5\text{ solutions}
5 <- 5\text{ mol/L}
5 <- 5\text{ eV}
5 <- 5\text{ light years}
5 <- 5 \text{ rad/s}
5 <- 5\text{ W/m}^2
5 <- 5\text{ J/(mol K)}
5 <- 5\text{ ohms}
5 <- 5\text{ megabytes}
5 <- 5\text{ yuan}
5 <- 5\text{ more apples}
""",
    "names dropped": r"""
1,2 <- x=1, x=2
x=1,x=2 <- 1,2
x=1,x=2 <- x=1 \text{ or } x=2
x=1,y=2 <- 1,2
AB=4,CD=5 <- 4, 5
-5, \frac{14}{3} <- x = -5,\ p = \frac{14}{3}
x_1=2, x_2=-3 <- -3, 2
x_1=2, x_2=-3 <- x=2 \text{ or } x=-3
x_{1}=2, x_{2}=-3 <- 2,-3
""",
    "signs of approximation": r"""
11 <- x\approx 11
5.67 <- \frac{17}{3} \cong 5.67
\frac{17}{3} <- \frac{17}{3} \simeq 5.67
\frac{17}{3} <- \frac{17}{3} ≅ 5.67
2.24 <- \sqrt5 ≃ 2.24
\sqrt5 <- x = \sqrt5 \approx 2.236
11 <- x \cong 11
\triangle ABC \cong \triangle DEF <- \triangle ABC \cong \triangle DEF
""",
    "option letters": r"""
12 <- \textbf{(C)}\ 12
12 <- \textbf{(C)}~12
12 <- \textbf{(C) } 12
12 <- \text{(C) } 12
12 <- \text{(C) 12}
12 <- (C) 12
12 <- (C)\ 12
12 <- \mathrm{(C)}\ 12
12 <- \mathbf{(C)}\ 12
12 <- \text{C. } 12
12 <- \text{C) 12}
12 <- \textbf{C. }12
12 <- C. 12
12 <- C) 12
12 <- \textbf{(C)} \quad 12
\frac{1}{2} <- \textbf{(D)} \frac{1}{2}
\frac{1}{2} <- \mathrm{(D)}\ \frac{1}{2}
D <- \textbf{(D)}\ \frac{1}{2}
D <- \text{D. } x = 42
D <- \text{Choice D}
D <- \text{Option D}
D <- \text{Option (D)}
D <- \text{Answer: D}
D <- \text{choice (D)}
D <- (\text{D})
D <- (\mathbf{D})
D <- \textbf{(D)}
D <- D: 12
B <- \mathrm{(B)}\ 12
C <- C. x = 42
\textbf{(B)}\ 12 <- B
\textbf{(B)}\ 12 <- (B)
\textbf{(B)}\ 12 <- 12
\textbf{(B) }12 <- 12
\textbf{(B)}\ 12 <- \text{(B) } 12
\text{(D)}\ \frac{1}{2} <- \frac{1}{2}
\textbf{(B)}\ \sqrt{3} <- \sqrt 3
3+\sqrt{2} <- \textbf{(A)}\ \sqrt{2}+3
""",
    "names without backslash": r"""
\frac{5\pi}{6} <- 5pi/6
\frac{5\pi}{6} <- (5pi)/6
\frac{5\pi}{6} <- 5*pi/6
\frac{5\pi}{6} <- (5/6)*pi
\ln 5 <- ln(5)
\ln 5 <- ln 5
\log 5 <- log(5)
\log_2 3 <- log_2(3)
\log_2 3 <- log_2 3
e^{-2} <- exp(-2)
e^{-2} <- e^(-2)
e^{-2} <- e**(-2)
2e^{-x} <- 2exp(-x)
2e^{-x} <- 2*exp(-x)
x^2-1 <- x**2 - 1
x^{10}-1 <- x**10 - 1
2^{10} <- 2**10
x^{-2} <- x**-2
x^{-2} <- x**(-2)
\theta <- theta
2\theta <- 2theta
2\theta <- 2*theta
\alpha+\beta <- alpha + beta
(-\infty, 3] <- (-oo, 3]
(-\infty, 3] <- (-inf, 3]
(-\infty, 3] <- (-Infinity, 3]
\infty <- \text{infinity}
\infty <- oo
\cos^2 x <- cos^2(x)
\cos^2 x <- cos(x)**2
\sin x <- sin x
\sin x <- sin(x)
\sin 2x <- sin(2x)
\sin 2x <- sin(2*x)
\tan^{-1} x <- arctan(x)
1+2i <- 1+2*I
1+2i <- 1 + 2*i
\lfloor x \rfloor <- floor(x)
\lceil x \rceil <- ceil(x)
\lceil x \rceil <- ceiling(x)
\sqrt{2} <- sqrt{2}
\sqrt{2} <- sqrt(2)
\sqrt{2} <- sqrt2
2\sqrt{3} <- 2sqrt(3)
2\sqrt{3} <- 2*sqrt(3)
\frac{\sqrt{3}}{2} <- sqrt(3)/2
\sqrt{x^2+1} <- sqrt(x^2+1)
\sqrt{x^2+1} <- sqrt(x**2+1)
\frac{1+\sqrt{5}}{2} <- (1+sqrt(5))/2
|x| <- abs(x)
\binom{10}{3} <- binom(10,3)
\pi r^2 <- pi*r^2
e^{i\pi} <- exp(i*pi)
""",
    "quantities left of the equals sign": r"""
7 <- [ABC] = 7
7 <- [ABCD] = 7
7 <- [\triangle ABC] = 7
7 <- x^2+y^2 = 7
7 <- m^2+n^2 = 7
7 <- a^2+b^2+c^2=7
7 <- BC^2 = 7
7 <- AB^2+AC^2 = 7
7 <- 2x = 7
7 <- 10a+b = 7
7 <- 100a+10b+c = 7
7 <- \|v\| = 7
7 <- \|\mathbf{v}\| = 7
7 <- |z|^2 = 7
7 <- \#S = 7
7 <- \sum a_i = 7
7 <- \sum_{i=1}^{n} i = 7
7 <- \sum_{k=1}^{10} a_k = 7
7 <- f^{-1}(3) = 7
7 <- f'(2) = 7
7 <- N(10) = 7
7 <- T(5) = 7
7 <- f(2,3) = 7
7 <- k_{\text{max}} = 7
7 <- S_{\text{total}} = 7
7 <- x_{\min} = 7
85 <- m\angle 2 = 85^\circ
85 <- \angle 2 = 85^\circ
85 <- m\angle ABC = 85^\circ
85 <- \measuredangle ABC = 85^\circ
\frac{7}{12} <- \mathbb{E}[X] = \frac{7}{12}
\frac{7}{12} <- \Pr[A\cup B]=\frac{7}{12}
\frac{7}{12} <- \Pr(A) = \frac{7}{12}
\frac{7}{12} <- P(A\cap B)=\frac{7}{12}
\frac{7}{12} <- P(A|B) = \frac{7}{12}
7 <- n \equiv 7 \pmod{12}
142 <- 142\text{ (mod 1000)}
7 <- \text{The answer is 7}
7 <- \text{The answer is } 7
7 <- \text{The final answer is 7.}
7 <- \text{the number of ways is } 7
7 <- \frac{1}{x}+\frac{1}{y} = 7
7 <- x+\frac{1}{x} = 7
7 <- \frac{a}{b} = 7
7 <- |a-b|=7
7 <- \vec{a}\cdot\vec{b} = 7
7 <- \det(A) = 7
7 <- \det A = 7
7 <- \operatorname{lcm}(a,b) = 7
7 <- \dim V = 7
7 <- \deg f = 7
7 <- \text{Volume} = 7
7 <- V_{ABCD} = 7
""",
    "glyphs": r"""
\epsilon_0 E^2/2 <- \frac{1}{2}\varepsilon_{0}E^{2}
\varepsilon <- \epsilon
\varphi <- \phi
\phi+1 <- 1+\varphi
\frac{1+\varphi}{2} <- \frac{\phi+1}{2}
\vartheta <- \theta
\varrho <- \rho
\frac{\hbar}{2m} <- \frac{ħ}{2m}
\frac{\hbar}{2m} <- \frac{ℏ}{2m}
\vec{v} <- \mathbf{v}
\vec{v} <- \overrightarrow{v}
\vec{v} <- \boldsymbol{v}
\ell <- l
\ell <- ℓ
2\ell+1 <- 1+2l
\mathbb{N} <- N
\mathbb{N} <- ℕ
\mathbb{R} <- ℝ
\mathbb{R} <- R
\mathbb{Z} <- ℤ
\mathbb{Z}^{+} <- \mathbb{Z}_{>0}
\mathbb{Z}^{+} <- \mathbb{Z}^+
x^{*} <- x^*
x^* <- x^{\ast}
10 \hat{i}+5\hat{j} <- 10\hat{\imath}+5\hat{\jmath}
10 \hat{i}+5\hat{j} <- 10\hat{\mathbf{i}}+5\hat{\mathbf{j}}
\mathcal{O}(n) <- O(n)
O(n^2) <- \mathcal{O}(n^2)
\omega_0 <- ω₀
""",
    "subscripts": r"""
m_{e} c^{2} <- m_e c^2
m_e c^2 <- c^2 m_{e}
m_{e} <- m_e
v_{\text{max}} <- v_{\mathrm{max}}
v_{\text{max}} <- v_{max}
v_{\max} <- v_{\text{max}}
E_{\text{total}} <- E_{total}
2E_{\text{total}} <- E_{total}\cdot 2
M_{\odot} <- M_\odot
R_\oplus <- R_{\oplus}
2R_\oplus <- R_{\oplus}\cdot 2
\rho_{\text{water}} g h <- \rho_{water} g h
\rho_{\text{water}} g h <- g h\rho_{\mathrm{water}}
\frac{m_{1} m_{2}}{m_{1}+m_{2}} <- \frac{1}{1/m_1+1/m_2}
\frac{v_{x}}{v_{y}} <- v_x/v_y
\frac{m_e e^4}{2} <- \frac{1}{2}m_{e}e^{4}
N_A k_B T <- k_{B} N_{A} T
""",
    "derivatives": r"""
\frac{dy}{dx} = 3x^2 <- y' = 3x^2
\frac{d y}{d t}+k y=k q(t) <- y'+ky=kq(t)
\dot{y}+k y=k q(t) <- \frac{dy}{dt}+ky=kq(t)
\dot{x} <- \frac{dx}{dt}
y'' + y = 0 <- \frac{d^2y}{dx^2}+y=0
""",
    "several named solutions": r"""
(2,3),(3,2) <- x=2,y=3 \text{ or } x=3,y=2
(2,3),(3,2) <- x=2,y=3; x=3,y=2
(2,3),(3,2) <- (x,y)=(2,3) \text{ or } (x,y)=(3,2)
(2,3),(3,2) <- (x,y)=(2,3), (3,2)
(2,3),(3,2) <- (x,y)=(3,2),(x,y)=(2,3)
(2,3),(3,2) <- x=2, y=3 \quad\text{or}\quad x=3, y=2
p=5,q=2;p=7,q=2 <- (5,2),(7,2)
p=5,q=2;p=7,q=2 <- p = 5, q = 2 \quad \text{and} \quad p = 7, q = 2
p=5,q=2;p=7,q=2 <- p=7,q=2;p=5,q=2
p=5,q=2;p=7,q=2 <- q=2,p=5;q=2,p=7
x=y=z=1 <- (1,1,1)
x=y=z=1 <- x=1,y=1,z=1
(1,1,1) <- x=y=z=1
a=b=c <- a=c=b
a=b=c <- c=b=a
(5, 8), (8, 5) <- (x, y) = (5, 8) \quad \text{and} \quad (8, 5)
""",
    "functions": r"""
f(x)=x^2 <- f(t)=t^2
f(x)=x^2 <- f(n)=n^2
f(x)=x^2 <- x^2
f(x)=cx <- f(x)=kx
f(x)=cx <- f(x)=ax, \text{ where } a \text{ is any real constant}
f(x)=cx <- f(x)=cx \text{ for some constant } c
f(x)=0 <- f \equiv 0
f(x)=0 <- f(x) \equiv 0
f(x)=0 <- f(x)=0 \text{ for all } x
f(x)=x <- f(x)\equiv x
f(x)=x <- f(x)=x, \forall x \in \mathbb{R}
f(x)=x <- f(x)=x \text{ for all real } x
y=x^2+2x <- f(x)=x^2+2x
f(x)=2x^3+c <- 2x^3+c \text{ for any real constant } c
f(x)=2x^3+c <- f(x)=2x^3+k
f(x)=2x <- f(x)=2x, x\in\mathbb{R}
f(x)=\sqrt{x} <- f(x)=\sqrt{x}, x\ge 0
\frac{x^3}{3}+C <- \frac{x^3}{3}+c
""",
    "intervals": r"""
(-2,2) <- |x|<2
[-2,2] <- |x|\le 2
(-1,3) <- |x-1|<2
(-\infty,-2)\cup(2,\infty) <- |x|>2
(-\infty,-2]\cup[2,\infty) <- |x|\ge 2
(1,2) <- ]1,2[
(1,2) <- \left]1,2\right[
(1,2] <- ]1,2]
[1,2) <- [1,2[
(1,\infty) <- ]1,\infty[
(-\infty,1) <- ]-\infty, 1[
\{x|0<x<1\} <- 0<x<1
\{x|0<x<1\} <- \{x\mid 0<x<1\}
\{x|0<x<1\} <- \{x: 0<x<1\}
\{x|0<x<1\} <- (0,1)
\{x|x>1\} <- (1,\infty)
(1,\infty) <- \{x \mid x > 1\}
(1,\infty) <- \{x : x > 1\}
(1,\infty) <- \{x | x > 1\}
(1,\infty) <- \{x \in \mathbb{R} \mid x > 1\}
(1,\infty) <- \{ t \in \mathbb{R} : t > 1 \}
(1,\infty) <- \left\{x \,\middle|\, x > 1\right\}
[1,2) <- \{x \mid 1 \le x < 2\}
\mathbb{R}\setminus\{0\} <- x\neq 0
\mathbb{R}\setminus\{0\} <- (-\infty,0)\cup(0,\infty)
\mathbb{R}\setminus\{0\} <- \mathbb{R}-\{0\}
\mathbb{R}\setminus\{0\} <- \mathbb{R} \backslash \{0\}
\mathbb{R}\setminus\{0\} <- x \in \mathbb{R}\setminus\{0\}
\mathbb{R}\setminus\{0\} <- \{x \in \mathbb{R} \mid x \ne 0\}
\mathbb{R}\setminus\{0,1\} <- x\ne 0, x \ne 1
\mathbb{R}\setminus\{0,1\} <- x\ne 0, 1
\mathbb{R}\setminus\{0,1\} <- (-\infty,0)\cup(0,1)\cup(1,\infty)
x\ne 3 <- \mathbb{R}\setminus\{3\}
(-\infty,0)\cup(0,\infty) <- \mathbb{R}\setminus\{0\}
(-\infty,\infty) <- \mathbb{R}
\mathbb{R} <- (-\infty,\infty)
\mathbb{R} <- \text{all real numbers}
x > 1 <- x \in (1, \infty)
""",
    "spaces, rows and labels": r"""
3, -5 <- 3 \quad \text{or} \quad -5
3, -5 <- 3 \quad -5
3, -5 <- 3,\quad -5
3, -5 <- x=3 \quad\text{or}\quad x=-5
3, -5 <- \text{3 and -5}
3, -5 <- \text{3, -5}
x=\frac{1}{2}, y=3 <- x=\frac{1}{2}\quad y=3
x=\frac{1}{2}, y=3 <- x=\frac{1}{2},\quad y=3
x=\frac{1}{2}, y=3 <- x=\frac{1}{2}\qquad y=3
x=\frac{1}{2}, y=3 <- x=\frac{1}{2} \quad \text{and} \quad y=3
x=1,y=2 <- \begin{aligned} x&=1\\ y&=2\end{aligned}
x=1,y=2 <- \begin{cases} x=1\\ y=2\end{cases}
x=1,y=2 <- \begin{cases} x=1,\\ y=2.\end{cases}
(1,2) <- \begin{cases} x=1\\ y=2\end{cases}
x=1,y=2 <- \begin{array}{l} x=1\\ y=2\end{array}
7 <- \begin{aligned} x&=3+4\\ &=7\end{aligned}
7 <- \begin{aligned} x&=7\end{aligned}
8 <- **8**
8 <- ** 8 **
\frac{1}{2} <- **\frac{1}{2}**
7 <- \text{Answer: 7}
7 <- \text{Answer: } 7
7 <- \text{answer = 7}
7 <- \text{Final answer: 7}
7 <- \text{x = 7}
7 <- \Large 7
7 <- \huge{7}
7 <- {\Large 7}
3:4 <- 3 \text{ to } 4
3:4 <- \text{3 to 4}
\sqrt{3}:3 <- 1:\sqrt{3}
""",
    "number words": r"""
5 <- \text{five}
5 <- \text{Five}
5 <- five
0 <- \text{zero}
12 <- \text{twelve}
25 <- \text{twenty-five}
25 <- \text{twenty five}
100 <- \text{one hundred}
105 <- \text{one hundred five}
105 <- \text{one hundred and five}
2000 <- \text{two thousand}
-5 <- \text{negative five}
-5 <- \text{minus five}
5 <- \text{five apples}
5 <- \text{five dollars}
\text{five} <- 5
""",
    "words": r"""
\text{Yes} <- \text{Yes, it is}
\text{Yes} <- \text{Yes, it does}
\text{No} <- \text{No, it is not}
\text{Alice} <- \text{Alice wins}
\text{not possible} <- \text{impossible}
\text{impossible} <- \text{not possible}
\text{hyperbola} <- \text{a hyperbola}
\text{hyperbola} <- \text{The hyperbola}
\text{ellipse} <- \text{an ellipse}
\text{June 20} <- \text{20 June}
\text{June 20} <- \text{June 20th}
①③④ <- ①, ③, ④
①③④ <- \text{①③④}
①③④ <- ①③④
①③④ <- ① ③ ④
\text{odd} <- \text{Odd.}
""",
    "turned equations, integers, bound variables": r"""
5 = x <- 5
5 = x <- x = 5
\lfloor n^2/4 \rfloor <- \left\lfloor \frac{n}{2} \right\rfloor \left\lceil \frac{n}{2} \right\rceil
\frac{(2n)!}{2^n n!} <- (2n-1)!!
\prod_{i=1}^n (2i-1) <- \frac{(2n)!}{2^n n!}
\sum_{k=0}^{\lfloor n/2\rfloor}\binom{n}{2k} <- 2^{n-1}
\sum_{i=0}^n \binom{n+1}{i} X^i <- (1+X)^{n+1}-X^{n+1}
\sum_{i=1}^{n}\frac{1}{i} <- \sum_{k=1}^n \frac{1}{k}
\sum_{k=1}^{n}\frac{1}{k} <- \sum_{i=1}^n \frac{1}{i}
\sum_{i=1}^{n}\frac{1}{i^2} <- \sum_{m=1}^n \frac{1}{m^2}
\lfloor \frac{n}{2} \rfloor <- \frac{n}{2}-\frac{1-(-1)^n}{4}
\left\lceil \frac{n}{2} \right\rceil <- \left\lfloor \frac{n+1}{2} \right\rfloor
(n+1)! - n! <- n\cdot n!
120 <- C_{10}^{3}
120 <- C_{10}^3
120 <- C^{3}_{10}
120 <- ^{10}C_3
120 <- {}_{10}C_{3}
120 <- {}^{10}C_{3}
120 <- C(10,3)
720 <- P_{10}^{3}
720 <- A_{10}^{3}
30.5^\circ <- 30^\circ 30'
30^\circ 30' <- 30.5^\circ
30^\circ 30' <- 30^{\circ} 30^{\prime}
30^\circ 15' <- 30^\circ\,15'
\left(1+\frac1n\right)^n <- \frac{(n+1)^n}{n^n}
\int_0^x t^2\,dt <- \int_0^x s^2\,ds
\max(a,b) <- \max\{a,b\}
\min(a,b) <- \min \{ a, b\}
1+\sqrt3 i <- 2\operatorname{cis} 60^\circ
""",
    "a second round": r"""
120 <- \boxed{\binom{10}{7}}
\frac{1}{2} <- \textbf{(A)}\ \frac12
E <- \text{E}
E <- (E)
C <- \textbf{C}
D <- \text{(D)}\ 7
D <- (D)\ 7
7 <- D) 7
7 <- (D) \ 7
025 <- 25
27.0 <- 27
7 <- \text{Answer} = 7
13 <- m+n = 13
13 <- \frac{m}{n} = \frac{6}{7} \Rightarrow m+n = 13
\frac{2\pi}{3} <- 2pi/3
\frac{2\pi}{3} <- 2*pi/3
\frac{\pi}{2} <- pi/2
\sqrt{3}-1 <- sqrt(3) - 1
\sqrt[3]{2} <- cbrt(2)
\sqrt[3]{2} <- 2^(1/3)
\sqrt[3]{2} <- 2**(1/3)
\arctan 2 <- atan(2)
\arctan 2 <- arctan(2)
\tan x <- tan(x)
\ln(x+1) <- ln(x+1)
\log_{10} 5 <- log_10(5)
\frac{1}{x} <- 1/x
x^2y <- x^2*y
\frac{x+1}{x-1} <- (x + 1)/(x - 1)
e^x <- exp(x)
e <- exp(1)
\lambda <- lambda
\omega t <- omega t
\omega t <- omega*t
2\omega <- 2*omega
\Delta x <- Delta x
[-1, \infty) <- [-1, inf)
[-1, \infty) <- [-1, oo)
[-1, \infty) <- x >= -1
x \le 2 <- x <= 2
x \le 2 <- (-inf, 2]
7 <- |AB| = 7
7 <- \overline{AB} = 7
7 <- AB = 7
7 <- |x - y| = 7
7 <- \min(x) = 7
7 <- \max_{x} f(x) = 7
7 <- \lim_{x\to 0} f(x) = 7
7 <- \int_0^1 f(x)\,dx = 7
7 <- f(3) - f(2) = 7
7 <- a_7 = 7
7 <- a_{n} = 7
7 <- x_1 + x_2 = 7
7 <- x_1^2 + x_2^2 = 7
7 <- \cos\theta = 7
\frac{3}{5} <- \sin\theta = \frac{3}{5}
\frac{3}{5} <- \sin 2\theta = \frac{3}{5}
\frac{3}{5} <- \sin^2\theta = \frac{3}{5}
\frac{3}{5} <- \tan(\alpha+\beta) = \frac35
7 <- \angle BAC = 7^\circ
7 <- m\angle A = 7^\circ
7 <- 3x = 7
7 <- xy = 7
7 <- xyz = 7
7 <- ab+bc+ca = 7
7 <- \frac{x}{y} = 7
7 <- \frac{a+b}{c} = 7
7 <- n! = 7
7 <- \text{Number of ways} = 7
7 <- \text{Total cost} = \$7
7 <- \text{The value is } 7
7 <- \text{So, the answer is } 7
7 <- \text{Therefore } 7
7 <- \text{Area} = 7 \text{ cm}^2
7 <- A = 7 \text{ square units}
\epsilon <- ε
\phi <- ϕ
\varphi <- φ
\alpha\beta <- αβ
\frac{\varepsilon}{2} <- \epsilon/2
\theta <- \vartheta
\hat{x} <- \hat{\mathbf{x}}
\vec{F} <- \mathbf{F}
\mathbf{F} <- \vec{F}
\vec{v}=2\hat{i} <- \vec{v} = 2\hat{\imath}
T_{\text{eff}} <- T_{eff}
T_{\text{eff}} <- T_{\mathrm{eff}}
L_{\odot} <- L_\odot
2 L_{\odot} <- 2L_\odot
m_p <- m_{p}
\frac{m_e}{m_p} <- \frac{m_{e}}{m_{p}}
q_e <- q_{e}
V_{rms} <- V_{\text{rms}}
V_{\text{rms}} \sqrt{2} <- \sqrt{2} V_{rms}
x=1, y=2 <- x = 1 \text{ and } y = 2
x=1, y=2 <- x = 1 ; y = 2
x=1, y=2 <- (1, 2)
(1,2) <- x = 1, y = 2
(1,2),(2,1) <- (2,1),(1,2)
(1,2),(2,1) <- x=1,y=2; x=2,y=1
(1,2),(2,1) <- \{(1,2),(2,1)\}
(1,2),(2,1) <- (x,y) \in \{(1,2),(2,1)\}
(1,2),(2,1) <- (1,2) \text{ or } (2,1)
(1,2),(2,1) <- (x, y) = (1,2) \text{ and } (2,1)
1, 2, 3 <- x_1 = 1, x_2 = 2, x_3 = 3
1, 2, 3 <- x = 1, x = 2, x = 3
1, 2, 3 <- x = 1, 2, 3
1, 2, 3 <- x=1 \lor x=2 \lor x=3
f(x) = 2x+1 <- f(x) = 2x + 1 \text{ for all } x \in \mathbb{R}
f(x) = 2x+1 <- f(y) = 2y+1
f(x) = 2x+1 <- 2x+1
f(n) = n+1 <- f(x)=x+1
f(x) = kx <- f(x) = cx
f(x)=kx^2 <- f(x) = cx^2, c \in \mathbb{R}
f(x)=x <- f(x)=x \ \forall x
f(x)=x <- f(x) = x \text{ for every real number } x
P(x)=x^2+1 <- P(t)=t^2+1
a_n = 2^n <- a_n = 2^n, n \ge 1
a_n = 2^n <- 2^n
y=2x <- f(x)=2x
x=\frac{\pi}{4}+k\pi <- x = \frac{\pi}{4}+n\pi, n \in \mathbb{Z}
\frac{\pi}{4}+k\pi <- \frac{\pi}{4}+k\pi, k\in\mathbb{Z}
(-1,1) <- |x| < 1
[-1,1] <- |x|\leq 1
(2,4) <- |x-3|<1
(0,\infty) <- \{x \in \mathbb{R} : x > 0\}
(0,\infty) <- x > 0
(0,\infty) <- \mathbb{R}^+
(0,\infty) <- \mathbb{R}_{>0}
[0,1) <- [0, 1[
(-\infty, 3] <- ]-\infty, 3]
(-\infty, 2)\cup(2,\infty) <- \mathbb{R}\setminus\{2\}
(-\infty, 2)\cup(2,\infty) <- \mathbb{R} - \{2\}
(-\infty, 2)\cup(2,\infty) <- x \neq 2
(-\infty, 2)\cup(2,\infty) <- \{x \mid x \neq 2\}
(-\infty, 2)\cup(2,\infty) <- \text{all real numbers except } 2
\mathbb{R}\setminus\{-1,1\} <- (-\infty,-1)\cup(-1,1)\cup(1,\infty)
\mathbb{R}\setminus\{-1,1\} <- x \ne \pm 1
\mathbb{R}\setminus\{-1,1\} <- x \neq -1, 1
\mathbb{R}\setminus\{-1,1\} <- x \neq -1 \text{ and } x \neq 1
\{1,2\} <- x \in \{1,2\}
x=2, y=-1 <- \begin{cases} x = 2 \\ y = -1 \end{cases}
x=2, y=-1 <- \begin{aligned} x &= 2, \\ y &= -1 \end{aligned}
(2,-1) <- \begin{cases} x = 2 \\ y = -1 \end{cases}
42 <- \text{Answer: } \mathbf{42}
42 <- **42**
42 <- \mathbf{42}
42 <- \text{The answer is: } 42
42 <- \text{Answer is 42}
42 <- \text{Result: 42}
5 <- 5 \Omega
5 <- 5\ \mathrm{\Omega}
5 <- 5\,\Omega
5 <- 5 \mu\text{C}
5 <- 5\ \mu\text{s}
5 <- 5\ \mathrm{\mu m}
5 <- 5\ \text{nm}
5 <- 5\,\mathrm{eV}
5 <- 5\ \mathrm{keV}
5 <- 5\,\text{GHz}
5 <- 5\ \text{K}
5 <- 5 K
5 <- 5\,\text{h}
5 <- 5 h
5 <- 5\text{ hr}
5 <- 5\text{ kWh}
5 <- 5 \mathrm{~km} / \mathrm{s}
5 <- 5\ \mathrm{erg\ s^{-1}}
5 <- 5\text{ W m}^{-2}
5 <- 5\text{ \mu m}
5 <- 5 \text{ moles}
5 <- 5\ \mathrm{mol}
5 <- 5\text{ g/mol}
5 <- 5\text{ atm}
5 <- 5\text{ N/m}
5 <- 5\text{ arcseconds}
5 <- 5\text{ AU}
5 <- 5\text{ ly}
5 <- 5\text{ pc}
5 <- 5\text{ rev/s}
5 <- 5\text{ bits}
5 <- 5\text{ cups}
5 <- 5\text{ points per game}
5 <- 5\text{ times}
5 <- 5\text{ boys}
5 <- 5\text{ miles per hour}
5 <- 5\text{ years}
3 <- \text{three}
3 <- Three
11 <- \text{eleven}
40 <- \text{forty}
42 <- \text{forty-two}
300 <- \text{three hundred}
1 <- \text{one}
6 = x <- 6
6 = x <- x=6
-3 = y <- -3
\lfloor n/2 \rfloor + \lceil n/2 \rceil <- n
\frac{n(n+1)}{2} <- \binom{n+1}{2}
\sum_{k=1}^n k^3 <- \left(\frac{n(n+1)}{2}\right)^2
\frac{(2n)!}{n!} <- 2^n (2n-1)!!
\binom{n}{k} <- \frac{n!}{k!(n-k)!}
\binom{n}{k} <- C_n^k
\binom{n}{2} <- C(n,2)
35 <- C_7^3
35 <- C_{7}^{3}
35 <- {7 \choose 3}
35 <- ^7C_3
35 <- _7C_3
210 <- P_7^3
45.5^\circ <- 45^\circ 30'
45^\circ 30' <- 45.5^\circ
22^\circ 37' <- 22^{\circ}37^{\prime}
\sum_{i=1}^n a_i <- \sum_{k=1}^n a_k
\sum_{i=1}^n i^2 <- \sum_{j=1}^n j^2
\int_0^1 e^{-x^2} dx <- \int_0^1 e^{-t^2} dt
\max\{x,y\} <- \max(x,y)
\gcd(a,b) <- \gcd(b,a)
\sqrt{ab} <- \sqrt{a}\sqrt{b}
\ln(ab) <- \ln a + \ln b
\sqrt{x^2 y} <- \sqrt{y x^2}
3:2 <- 3 \text{ to } 2
3:2 <- 3/2
3:2 <- 6:4
\text{Yes} <- \text{Yes, they are}
\text{No} <- \text{No, it isn't}
\text{parabola} <- \text{a parabola}
\text{Bob} <- \text{Bob wins.}
\text{impossible} <- \text{not possible}
\text{no solution} <- \text{No solutions}
\text{no solution} <- \emptyset
\text{May 5} <- \text{5 May}
①②④ <- ①、②、④
①② <- ①②
""",
    "a third round": r"""
7 <- \text{The sum of the roots is } 7
7 <- \text{The remainder is } 7
(0,1) <- \left(0, 1\right)
\text{two} <- 2
5 <- 5 \text{ meters per second}
5 <- 5\text{ students in the class}
5 <- 5 \text{ cookies each}
5 <- \text{5 cm}
5 <- \text{5 apples}
\frac{1}{2} <- \frac{1}{2}\text{ hour}
12 <- 12 \text{ inches long}
2\sqrt3 <- 2\sqrt{3}\text{ units}
x=3,y=4 <- y=4,x=3
""",
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_answers_are_refused(verifier: MathVerifier, kind: str) -> None:
    assert [pair for pair, correct in judged(verifier, WRONG[kind]).items() if correct is not False] == []


@pytest.mark.parametrize("kind", RIGHT)
def test_right_answers_are_accepted(verifier: MathVerifier, kind: str) -> None:
    assert [pair for pair, correct in judged(verifier, RIGHT[kind]).items() if correct is not True] == []


def test_the_case_file(verifier: MathVerifier) -> None:
    """No wrong answer is accepted; the right ones that are refused are those listed above."""
    found = {row["id"]: verifier.verify(Problem("m", "?", row["gold"], "math"), row["completion"]) for row in CASES}
    right = {row["id"] for row in CASES if row["expected"] == "correct"}
    accepted = {name for name, verdict in found.items() if verdict.correct is True}
    assert None not in {verdict.correct for verdict in found.values()}
    assert accepted - right == set(), "accepted, though wrong"
    assert right - accepted == set(REFUSED)
    assert len(REFUSED) <= 0.03 * len(right)


def determinant(size: int) -> str:
    letters = "abcdfghjklmnopqrstuvwxyz"
    rows = [" & ".join(f"{letters[(size * i + j) % 24]}+{i * j}" for j in range(size)) for i in range(size)]
    return r"\begin{vmatrix}" + r" \\ ".join(rows) + r"\end{vmatrix}"


SLOW = {
    "a symbolic determinant": ("x^2+1", determinant(8)),
    "a larger one": ("x^2+1", determinant(12)),
    "nested sines": (r"\sin x", "\\sin(" * 10 + "x" + ")" * 10),
    "nested sines of a sum": (r"\sin x", "\\sin(x+" * 10 + "x" + ")" * 10),
    "an equation that is solved": ("x^2=3", r"x^7+3x^5-2x^3+x^2\sin x+e^{x}=3"),
    "a differential equation": (r"\ddot{x}=-x", r"\ddot{x}\sin(\ddot{x})+e^{\ddot{x}}=x^5+3"),
    "powers of a sum": ("x^2+1", "(x+y+z+w+u)^{40}(x-y+z-w+u)^{40}"),
    "a long product": ("x^2+1", "".join(f"(x+{n})" for n in range(1, 90))),
    "a continued fraction": ("x", r"\frac{1}{x+" * 20 + "1" + "}" * 20),
    "nested surds": ("x", r"\sqrt{x+" * 22 + "1" + "}" * 22),
    "a list of hard parts": (r"\{\sin x, \cos x, \tan x\}",
                             ", ".join(rf"\sin(\cos({n}x+\sqrt{{{n}}}))^{n}" for n in range(1, 30))),
}


@pytest.mark.parametrize("kind", SLOW)
def test_no_answer_takes_more_than_two_seconds(verifier: MathVerifier, kind: str) -> None:
    """Bug: ten seconds each, and the worker was killed. The verdict is wrong, and says so where the clock ended it."""
    gold, answer = SLOW[kind]
    begun = time.process_time()
    verdict = verifier.verify(Problem("m", "?", gold, "math"), rf"\boxed{{{answer}}}")
    assert time.process_time() - begun < 2.0
    assert verdict.correct is False
    assert "1.5 s of CPU time" in verdict.detail or verdict.reason is not Reason.HUGE or verdict.tier == "guard"


def test_the_clock_ends_a_comparison_and_gives_its_signal_back() -> None:
    from rlvr.rewards.math import clock
    from rlvr.rewards.math_answer import bounded

    def forever() -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:  # as a library would
                continue

    before = signal.getsignal(signal.SIGPROF)
    begun = time.process_time()
    verdict = bounded("x", forever)  # pyright: ignore[reportArgumentType]
    assert time.process_time() - begun < 2.0
    assert (verdict.correct, verdict.reason) == (False, Reason.HUGE) and "CPU time" in verdict.detail
    assert signal.getsignal(signal.SIGPROF) == before and signal.getitimer(signal.ITIMER_PROF)[0] == 0
    assert clock.within(1.0, lambda: 7) == 7


def test_a_clock_inside_another_leaves_it_running() -> None:
    """Bug: a gold answer that took too long was compared without any limit, as the inner clock had ended the outer."""
    from rlvr.rewards.math import clock

    def forever() -> None:
        while True:
            sum(range(1000))

    def both() -> None:
        with pytest.raises(clock.OutOfTime):
            clock.within(0.2, forever)
        clock.within(5.0, forever)

    begun = time.process_time()
    with pytest.raises(clock.OutOfTime):
        clock.within(0.6, both)
    assert time.process_time() - begun < 2.0 and signal.getitimer(signal.ITIMER_PROF)[0] == 0


def test_a_gold_answer_that_takes_too_long_is_named(verifier: MathVerifier) -> None:
    """A gold answer that computer algebra cannot handle is the dataset's problem, and is said before a training."""
    complaint = verifier.check_gold(Problem("m", "?", determinant(9), "math"))
    assert complaint is not None and "CPU time" in complaint

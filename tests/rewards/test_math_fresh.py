"""Answers that were thought up after the verifier was written, of every kind that it knows, right and wrong ones in
pairs. Their truth was decided before they were run. A row is `gold <- answer`.
Run: python -m pytest tests/rewards/test_math_fresh.py
"""

from __future__ import annotations

import pytest

from rlvr.rewards.math_answer import MathVerifier
from rlvr.types import Problem
from tests.support.math_pairs import judged

RIGHT = r"""
12 <- \textbf{(B)}\ 12
12 <- \text{(C) } 12
C <- \textbf{(C)}\ 12
D <- \text{Option D}
D <- (\text{D})
B <- \boxed{\text{B}}
\frac{7}{12} <- 7/12
\frac{7}{12} <- 0.58\overline{3}
\frac{7\pi}{6} <- 7pi/6
\frac{7\pi}{6} <- 210^\circ\cdot\frac{\pi}{180^\circ}
\ln 7 <- ln(7)
e^{-3} <- exp(-3)
x^{3}-2x <- x**3 - 2*x
\sqrt{7}+2 <- sqrt(7) + 2
\sqrt{7}+2 <- 2+√7
42 <- [ABCD] = 42
42 <- a^2+b^2+c^2 = 42
120 <- \angle BAC = 120^\circ
120 <- m\angle ABC = 120
35^\circ <- 35
35^\circ <- \angle x = 35^\circ
\epsilon <- \varepsilon
\theta_0 <- \vartheta_0
\phi^2 <- \varphi^{2}
m_e c^2 <- m_ec^2
m_e c^2 <- m_{e}c^{2}
v_{max} <- v_{\text{max}}
\frac{1}{2}mv_0^2 <- \frac{mv_0^2}{2}
(3,-1) <- x=3, y=-1
(3,-1) <- x = 3 \text{ and } y = -1
(3,-1) <- (x,y)=(3,-1)
(2,5,7) <- (a,b,c) = (2,5,7)
(2,5,7) <- a=2,\ b=5,\ c=7
1,-4 <- x=1 \text{ or } x=-4
1,-4 <- x=-4, x=1
1,-4 <- \{1,-4\}
1,-4 <- x_1=1, x_2=-4
x=1,y=2 <- (1,2)
f(x)=2x+1 <- 2x+1
f(x)=2x+1 <- f(t)=2t+1
f(x)=2x+1 <- y=2x+1
2x+1 <- f(x) = 2x+1 \text{ for all } x \in \mathbb{R}
2x+1 <- f(x)=1+2x
[3,\infty) <- \{x \mid x\ge 3\}
[3,\infty) <- x\geq3
[3,\infty) <- [3,+\infty[
(-\infty,2)\cup(2,\infty) <- \mathbb{R}\setminus\{2\}
(-\infty,2)\cup(2,\infty) <- x \neq 2
(-\infty,2)\cup(2,\infty) <- \mathbb{R} - \{2\}
(-\infty,2)\cup(2,\infty) <- \text{all real numbers except } 2
(-\infty,\infty) <- \mathbb{R}
(0,5) <- ]0,5[
3,5 <- 3\quad\text{and}\quad 5
3,5 <- 3 \text{ and } 5
3,5 <- 3\text{ or }5
(1,2) <- \begin{cases} x=1 \\ y=2 \end{cases}
18 <- \text{Answer: } 18
18 <- \text{Answer: 18}
18 <- **18**
18 <- \text{The answer is } 18
18 <- \mathbf{18}
18 <- 18.
18 <- 18\text{ apples}
18 <- \$18
18 <- 18\text{ dollars}
18 <- \text{eighteen}
18 <- 18 \text{ square units}
5 <- 5\,\Omega
5 <- 5\,\mu\text{m}
300 <- 300\text{ K}
300 <- 300 K
10 <- 10\text{ h}
10 <- 10 \text{ hours}
4\text{ cm} <- 4
4\text{ cm} <- 4\,\mathrm{cm}
4\text{ cm} <- 4 cm
9.8 <- 9.8\ \text{m/s}^2
9.8 <- 9.8\ \mathrm{m\,s^{-2}}
5=x <- 5
5=x <- x=5
120 <- C_{10}^{3}
120 <- \binom{10}{3}
120 <- ^{10}C_3
720 <- P(10,3)
23.5^\circ <- 23^\circ 30'
k\pi <- n\pi, n\in\mathbb{Z}
k\pi <- k\pi \text{ where } k \text{ is an integer}
\frac{\pi}{4}+k\pi <- \frac{\pi}{4}+n\pi, n \in \mathbb{Z}
\frac{n(n+1)}{2} <- \frac{n^2+n}{2}
\frac{n(n+1)}{2} <- \binom{n+1}{2}
2^n-1 <- 2^{n}-1
\frac{1}{\sqrt{2}} <- \frac{\sqrt2}{2}
\frac{1}{1+\sqrt{3}} <- \frac{\sqrt{3}-1}{2}
\sqrt{50} <- 5\sqrt{2}
\sqrt[3]{16} <- 2\sqrt[3]{2}
\log_2 3 <- \frac{\ln 3}{\ln 2}
\sin 60^\circ <- \frac{\sqrt3}{2}
\cos\frac{\pi}{3} <- \frac12
3+4i <- 4i+3
3+4i <- 3+4\mathrm{i}
1000000 <- 10^6
1000000 <- 1,000,000
1000000 <- 1\text{ million}
0.25 <- \frac{1}{4}
0.25 <- 25\%
25\% <- 0.25
25\% <- 25
3:2 <- 3 : 2
3:2 <- \frac{3}{2}
3:2 <- 6:4
2\frac{1}{3} <- \frac{7}{3}
2\frac{1}{3} <- 2 1/3
\frac{x+1}{x-1} <- (x+1)/(x-1)
x^2-1 <- (x-1)(x+1)
(x-1)(x+1) <- x^2 - 1
y=2x+3 <- y - 2x - 3 = 0
y=2x+3 <- y=3+2x
x^2+y^2=25 <- x^2+y^2-25=0
\begin{pmatrix}1&2\\3&4\end{pmatrix} <- \begin{bmatrix}1&2\\3&4\end{bmatrix}
\begin{pmatrix}1\\2\end{pmatrix} <- (1,2)
\langle 1,2,3\rangle <- (1,2,3)
\text{yes} <- \text{Yes}
\text{yes} <- yes
\text{even} <- \text{Even}
\text{Friday} <- \text{friday}
\text{June 5} <- \text{5 June}
\text{no solution} <- \emptyset
\text{no solution} <- \text{No solutions}
\emptyset <- \varnothing
52_8 <- 52_{8}
52_8 <- 52_{\text{eight}}
1011_2 <- 1011_{2}
10:30 <- 10{:}30
10:30\text{ PM} <- 10:30 \text{ p.m.}
\left(\frac{1}{2},\frac{3}{4}\right) <- (0.5, 0.75)
-\frac{5}{3} <- \frac{-5}{3}
-\frac{5}{3} <- -1\frac{2}{3}
6.02\times10^{23} <- 6.02e23
6.02\times10^{23} <- 6.02 \cdot 10^{23}
1.6e-19 <- 1.6\times 10^{-19}
17 <- x = 17
17 <- 8+9=17
17 <- \boxed{17}
17 <- 17 \quad
17 <- \therefore 17
17 <- =17
17 <- \fbox{17}
\frac{17}{3} <- \frac{17}{3} \approx 5.67
\tan^{-1}(2) <- \arctan 2
\arctan 2 <- \tan^{-1} 2
2\pi r h <- 2\pi hr
\frac{GMm}{r^2} <- G\frac{Mm}{r^2}
e^{i\pi/3} <- \frac12+\frac{\sqrt3}{2}i
|x-3| <- |3-x|
\lfloor n/2\rfloor <- \left\lfloor \frac{n}{2}\right\rfloor
n! <- n\cdot(n-1)!
a^{m+n} <- a^m a^n
\frac{a}{b}+\frac{c}{d} <- \frac{ad+bc}{bd}
10:30\text{ PM} <- 10:30
10:30\text{ PM} <- 10:30\text{ p.m.}
5\text{ PM} <- 5\text{ pm}
5\text{ km north} <- 5\text{ km north}
5\text{ km north} <- 5\text{ km}
20\%\text{ profit} <- 20\%
20\%\text{ profit} <- 20\%\text{ profit}
v_{\text{max}} <- v_{max}
\{x|0<x<1\} <- (0,1)
\mathbb{Z}^{+} <- \mathbb{Z}_{>0}
x^{*} <- x^*
R_\oplus <- R_{\oplus}
\gcd(m,n) <- \gcd(n,m)
\gcd(m,n)+1 <- 1+\gcd(n,m)
\gcd(12,18) <- 6
6 <- \gcd(12,18)
\operatorname{lcm}(a,b) <- \text{lcm}(b,a)
2\gcd(a,b) <- \gcd(a,b)\cdot 2
f(x)=2x+1 <- y = 1+2x
①③④ <- ①③④
18 <- \textbf{(E)}~18
18 <- \mathrm{(E)}\ 18
\frac{11}{4} <- 2\tfrac{3}{4}
\frac{11}{4} <- 2\,\frac34
\frac{11}{4} <- 2.750
-\frac{5}{8} <- \dfrac{-5}{8}
-\frac{5}{8} <- \frac{5}{-8}
-\frac{5}{8} <- -\cfrac58
3\sqrt{5} <- \sqrt{45}
3\sqrt{5} <- 3√5
\frac{3\sqrt{5}}{5} <- \frac{3}{\sqrt 5}
2^{10} <- 1{,}024
1024 <- 2^{10}
12{,}500 <- 12500
12500 <- 1.25\times 10^{4}
12500 <- 1.25 \cdot 10^4
\frac{5\pi}{3} <- \frac{5}{3}\pi
\frac{5\pi}{3} <- 5\pi/3
\log_2 5 <- \frac{\ln 5}{\ln 2}
\ln\frac{3}{2} <- \ln 3-\ln 2
\binom{9}{4} <- 126
\binom{9}{4} <- C_9^4
x=3,y=-2 <- (x,y)=(3,-2)
(3,-2) <- x=3,\ y=-2
\{2,5\} <- x=2 \text{ or } x=5
\{2,5\} <- \{5, 2\}
(-\infty,4] <- x\leq 4
(-\infty,4] <- \left(-\infty;4\right]
[-1,6) <- -1\leq x<6
[-1,6) <- \{x\in\mathbb{R}: -1\le x<6\}
(x-4)(x+3) <- x^2-x-12
(x-4)(x+3) <- (3+x)(x-4)
\frac{x+1}{x-2} <- -\frac{x+1}{2-x}
72 <- 72 \text{ square units}
72\text{ cm}^2 <- 72~\mathrm{cm}^{2}
\$6.50 <- 6.50\text{ dollars}
\$6.50 <- \$6.5
35\% <- 35\text{ percent}
\begin{pmatrix}1\\-2\\4\end{pmatrix} <- \begin{bmatrix} 1 \\ -2 \\ 4 \end{bmatrix}
4+3i <- 3i+4
7\text{:}45 <- 7:45
\text{Thursday} <- Thursday
17 <- n = 17
17 <- |S| = 17
7:45 <- 7\text{:}45
2.5 <- 2\text{.}5
f(x)=3x^2-1 <- 3x^2-1
y=\frac{2}{3}x+4 <- y=\frac{2x}{3}+4
y=\frac{2}{3}x+4 <- y=\frac{2x+12}{3}
2x+3y=6 <- 4x+6y=12
2x+3y=6 <- 3y+2x-6=0
\frac{1}{n(n+1)} <- \frac1n-\frac1{n+1}
n^2-n <- n(n-1)
\cos 2\theta <- 1-2\sin^2\theta
a_n=3\cdot 2^{n-1} <- 3\cdot 2^{n-1}
\frac{\sqrt{6}-\sqrt{2}}{4} <- \frac{\sqrt{2}(\sqrt{3}-1)}{4}
\frac{\sqrt{6}-\sqrt{2}}{4} <- \sin 15^\circ
-2\pm\sqrt{7} <- -2+\sqrt7,-2-\sqrt7
-2\pm\sqrt{7} <- x=-2\pm\sqrt7
\{-2,0,2\} <- 0,\pm2
(-3,-1)\cup(2,5) <- (2,5)\cup(-3,-1)
(-3,-1)\cup(2,5) <- -3<x<-1 \text{ or } 2<x<5
\mathbb{R} <- (-\infty,\infty)
\mathbb{R}\setminus\{2\} <- x\neq 2
\text{Yes} <- \text{yes}
\text{True} <- true
B, D <- \text{B and D}
\frac{3}{8} <- 37.5\%
0.375 <- \frac{3}{8}
3:5 <- 6:10
5\times 10^{-3} <- 0.005
1.2\times10^6 <- 1{,}200{,}000
101_2 <- 101_{2}
\text{1011}_2 <- 1011_2
25! <- 25\cdot 24!
\sqrt[3]{2} <- 2^{1/3}
\frac{e^2-1}{2} <- \frac12(e^2-1)
i <- \sqrt{-1}
-i <- \frac1i
\begin{bmatrix}2&0\\0&3\end{bmatrix} <- \begin{pmatrix} 2 & 0 \\ 0 & 3 \end{pmatrix}
6\text{ hours} <- 6\text{ hr}
90\text{ km/h} <- 90\ \mathrm{km}/\mathrm{h}
2\pi r^2 <- 2 \pi r^{2}
"""
WRONG = r"""
\gcd(m,n) <- 1
\gcd(m,n) <- \gcd(m,k)
\gcd(m,n) <- \operatorname{lcm}(m,n)
\operatorname{lcm}(m,n) <- mn
\max(a,b) <- a
12 <- \textbf{(B)}\ 13
12 <- \text{(C)}
C <- \textbf{(B)}\ 12
D <- \text{Option C or D}
D <- A, D
\frac{7}{12} <- 0.583
\frac{7}{12} <- 7\12
\frac{7\pi}{6} <- 7p/6
\frac{7\pi}{6} <- 210
\ln 7 <- ln(7)/2
\ln 7 <- \log_{10} 7
e^{-3} <- exp(3)
x^{3}-2x <- x**3 + 2*x
\sqrt{7}+2 <- sqrt(7+2)
\sqrt{7}+2 <- \sqrt{7}-2
42 <- 2[ABCD] = 42
42 <- x+1 = 42
120 <- 60+x = 120
120 <- 120 = x+3
35^\circ <- 35\text{ radians}
35^\circ <- 35'
\epsilon <- \eta
m_e c^2 <- m_p c^2
m_e c^2 <- m e c^2
v_{max} <- v_{min}
(3,-1) <- x=-1, y=3
(3,-1) <- 3 \text{ or } -1
(3,-1) <- \{3,-1\}
(3,-1) <- y=3, x=-1
(2,5,7) <- (5,2,7)
(2,5,7) <- a=2,b=7,c=5
1,-4 <- 1
1,-4 <- 1,4
1,-4 <- 1,-4,0
x=1,y=2 <- x=2,y=1
x=1,y=2 <- x=1, x=2
f(x)=2x+1 <- f(x)=2x-1
f(x)=2x+1 <- f(t)=2x+1
f(x)=2x+1 <- x=2y+1
f(x)=2x+1 <- y=2x+2
f(x)=2x+1 <- g(x)=2x+1+c
2x+1 <- f(x)=2x+1 \text{ or } f(x)=0
[3,\infty) <- x>3
[3,\infty) <- (3,\infty)
[3,\infty) <- x\le 3
(-\infty,2)\cup(2,\infty) <- \mathbb{R}\setminus\{-2\}
(-\infty,2)\cup(2,\infty) <- \mathbb{R}
(-\infty,2)\cup(2,\infty) <- x\neq 2, x\neq 3
(-\infty,\infty) <- \mathbb{C}
(-\infty,\infty) <- \mathbb{Q}
(0,5) <- [0,5[
3,5 <- 3 + 5
3,5 <- 35
3,5 <- (5,3)\text{ or }3
18 <- \text{Answer: } 81
18 <- 18\text{ and } 81
18 <- \text{eighty}
18 <- \text{one eight}
18 <- 18\text{ or more}
18 <- 18\text{ halves}
18 <- 18\text{ pairs of something else}
18 <- 18k
18 <- 18!
18 <- 18\%\text{ of }100\text{ is }18
18 <- 1 8
18 <- >18
18 <- \le 18
18 <- 18\pm1
18 <- 18+\epsilon
18 <- 18 \text{ (wrong)}
18 <- \text{not } 18
18 <- 17.9999
18 <- 18.01
18 <- \sim 18
18 <- \approx 18.2
18 <- 0x12
18 <- 18_{10} \text{ or } 18_9
18 <- 10010_3
18 <- 18^{\circ}C + 1
4\text{ cm} <- 4\text{ m}
4\text{ cm} <- 4\text{ cm}^2
4\text{ cm} <- 40\text{ mm}^2
9.8 <- 9.8\times 10
5=x <- x=-5
120 <- C_{10}^{4}
120 <- P(10,3)
720 <- \binom{10}{3}
23.5^\circ <- 23^\circ 5'
23.5^\circ <- 23^\circ 50'
k\pi <- 2k\pi, k\in\mathbb{Z}
k\pi <- k\pi, k\in\mathbb{N}, k \ne 1
\frac{\pi}{4}+k\pi <- \frac{\pi}{4}+2n\pi, n \in \mathbb{Z}
\frac{n(n+1)}{2} <- \frac{n(n-1)}{2}
2^n-1 <- 2^{n-1}
\frac{1}{\sqrt{2}} <- \frac{\sqrt2}{4}
\sqrt{50} <- 7.07
\sqrt[3]{16} <- \sqrt{16}
\log_2 3 <- \frac{\ln 2}{\ln 3}
3+4i <- 3-4i
3+4i <- 3+4j
1000000 <- 10^7
0.25 <- 0.25\%
25\% <- 0.25\%
25\% <- 2.5
3:2 <- 2:3
3:2 <- 3,2
2\frac{1}{3} <- 2\cdot\frac{1}{3}
2\frac{1}{3} <- 21/3
\frac{x+1}{x-1} <- x+1/x-1
x^2-1 <- (x-1)^2
y=2x+3 <- y=3x+2
y=2x+3 <- x=2y+3
x^2+y^2=25 <- x^2+y^2=5
\begin{pmatrix}1&2\\3&4\end{pmatrix} <- \begin{pmatrix}1&3\\2&4\end{pmatrix}
\begin{pmatrix}1&2\\3&4\end{pmatrix} <- 1,2,3,4
\langle 1,2,3\rangle <- \langle 1,3,2\rangle
\text{yes} <- \text{no}
\text{yes} <- \text{yes and no}
\text{even} <- \text{odd}
\text{even} <- \text{neither even nor odd}
\text{Friday} <- \text{Monday or Friday}
\text{June 5} <- \text{July 5}
\text{no solution} <- 0
\text{no solution} <- x=0
\emptyset <- \{0\}
\emptyset <- \{\emptyset\}
52_8 <- 52
52_8 <- 42
1011_2 <- 11
10:30 <- 10:03
10:30\text{ PM} <- 10:30\text{ AM}
\left(\frac{1}{2},\frac{3}{4}\right) <- (0.5,0.7)
-\frac{5}{3} <- \frac{5}{3}
6.02\times10^{23} <- 6.02\times10^{22}
1.6e-19 <- 1.6\times 10^{19}
17 <- x = 17 \text{ or } x=18
17 <- 8+9=18
17 <- 17=18
17 <- \frac{17}{x}
17 <- 17x
17 <- 17 \to 18
17 <- \sqrt{17}
17 <- -17
17 <- [17,17]
17 <- (17,)
17 <- 17 \mod 5
17 <- 17 \text{ is wrong}
\frac{17}{3} <- 5.67
\frac{17}{3} <- \frac{17}{3} \approx 6.67
\arctan 2 <- \frac{1}{\tan 2}
\arctan 2 <- \arctan(-2)
2\pi r h <- 2\pi r^2 h
\frac{GMm}{r^2} <- \frac{GMm}{r}
\frac{GMm}{r^2} <- \frac{Gmm}{r^2}
|x-3| <- x-3
|x-3| <- |x+3|
\lfloor n/2\rfloor <- n/2
\lfloor n/2\rfloor <- \lceil n/2\rceil
n! <- (n-1)!
a^{m+n} <- a^m+a^n
a^{m+n} <- a^{mn}
\frac{a}{b}+\frac{c}{d} <- \frac{a+c}{b+d}
\frac{1}{3} <- 0.33
\frac{1}{3} <- 0.3333
2 <- \frac{4}{2}\text{ or }3
2 <- 2 \text{ with remainder } 1
7 <- 7 R 2
7 <- 7\text{ r }2
100 <- 100!\cdot 0
5 <- V
5 <- five or six
5 <- 5, 5
5 <- \{5,5\}
5 <- 5\cup 6
5 <- 5_7
5 <- 5 \neq 6
5 <- 4 < 5
5 <- 5 < 6
5 <- x \ge 5
5 <- 5 \pmod 7 \text{ or } 12
10:30 PM <- 10:30 AM
10:30\text{ AM} <- 22:30
5\text{ PM} <- 5\text{ AM}
5\text{ p.m.} <- 5\text{ a.m.}
5\text{ km north} <- 5\text{ km south}
5\text{ north} <- 5\text{ south}
20\%\text{ profit} <- 20\%\text{ loss}
5\text{ units left} <- 5\text{ units right}
300\text{ BC} <- 300\text{ AD}
5\text{ more} <- 5\text{ less}
30^\circ\text{ clockwise} <- 30^\circ\text{ counterclockwise}
10\%\text{ increase} <- 10\%\text{ decrease}
5\text{ above} <- 5\text{ below}
\gcd(m,n) <- m
\gcd(m,n)+1 <- 2
\gcd(a^2,b) <- \gcd(a,b)
v_{\text{max}} <- v_{\text{min}}
f(x)=2x+1 <- y=2t+1
f(x)=2x+1 <- g(x)=2x+1
f(y)=2y+1 <- y=2y+1
f(x)=2x+y <- y=2x+y
18 <- 18\text{ or }81
18 <- 1.8
18 <- 18 - \frac{1}{1000}
\frac{11}{4} <- 2\cdot\frac{3}{4}
\frac{11}{4} <- \frac{4}{11}
\frac{11}{4} <- 2.74
-\frac{5}{8} <- \frac{5}{8}
-\frac{5}{8} <- \frac{-5}{-8}
3\sqrt{5} <- \sqrt[3]{5}
3\sqrt{5} <- 6.71
3\sqrt{5} <- \sqrt{35}
1024 <- 2^{11}
12500 <- 1.25\times 10^{5}
12500 <- 12.500
\frac{5\pi}{3} <- \frac{5}{3\pi}
\frac{5\pi}{3} <- -\frac{\pi}{3}
\log_2 5 <- \log_5 2
\log_2 5 <- \log 5
\ln\frac{3}{2} <- \frac{\ln 3}{\ln 2}
\binom{9}{4} <- \frac{9}{4}
x=3,y=-2 <- x=-2,y=3
(3,-2) <- (-2,3)
(3,-2) <- \{3,-2\}
\{2,5\} <- \{2,5,2.5\}
\{2,5\} <- (2,5)
(-\infty,4] <- x<4
(-\infty,4] <- [4,\infty)
[-1,6) <- -1<x\le 6
[-1,6) <- \{-1,0,1,2,3,4,5\}
(x-4)(x+3) <- x^2+x-12
(x-4)(x+3) <- x=4,x=-3
\frac{x+1}{x-2} <- \frac{x+1}{2-x}
45^\circ <- 45\text{ rad}
72 <- 72^{2}
72\text{ cm}^2 <- 72\text{ cm}^3
72\text{ cm}^2 <- 72\text{ m}^2
\$6.50 <- 6.50\text{ cents}
35\% <- 3.5
35\% <- 0.035
\begin{pmatrix}1\\-2\\4\end{pmatrix} <- \begin{pmatrix}1\\2\\4\end{pmatrix}
4+3i <- 4-3i
4+3i <- 5
7\text{:}45 <- 7.45
\text{Thursday} <- Tuesday
17 <- 17 \text{ is a lower bound}
17 <- 16 < n < 18
17 <- n = 17k
7:45 <- 7:54
7:45 <- 745
2.5 <- 2\text{,}5
3x^2-1 <- f(x)=3x^2+1
y=\frac{2}{3}x+4 <- y=\frac{3}{2}x+4
2x+3y=6 <- 2x+3y=-6
2x+3y=6 <- 2x+3y
\frac{1}{n(n+1)} <- \frac1n+\frac1{n+1}
\cos 2\theta <- 2\cos\theta
\cos 2\theta <- 1-2\sin^2\phi
a_n=3\cdot 2^{n-1} <- a_n=3\cdot 2^{n}
a_n=3\cdot 2^{n-1} <- 6^{n-1}
\frac{\sqrt{6}-\sqrt{2}}{4} <- \cos 15^\circ
-2\pm\sqrt{7} <- 2\pm\sqrt7
-2\pm\sqrt{7} <- -2+\sqrt7
\{-2,0,2\} <- \pm 2
(-3,-1)\cup(2,5) <- (-3,5)
(-3,-1)\cup(2,5) <- [-3,-1]\cup[2,5]
\mathbb{R} <- \mathbb{Q}
\mathbb{R}\setminus\{2\} <- x=2
\emptyset <- 0
\text{Yes} <- \text{No}
\text{Yes} <- \text{Yes and no}
B, D <- B
B, D <- B, C
\frac{3}{8} <- 37.5
3:5 <- 5:3
5\times 10^{-3} <- 5\times 10^{3}
101_2 <- 101
101_2 <- 5_2
25! <- 25
25! <- 25!!
\sqrt[3]{2} <- 3\sqrt{2}
i <- -i
i <- 1
\begin{bmatrix}2&0\\0&3\end{bmatrix} <- \begin{bmatrix}3&0\\0&2\end{bmatrix}
6\text{ hours} <- 6\text{ minutes}
90\text{ km/h} <- 90\text{ m/s}
2\pi r^2 <- 2\pi r
(x,y)=(1,2) <- 1<x<2
P=(3,5) <- 3<x<5
"""


def test_right_answers_are_accepted_and_their_gold_answers_usable(verifier: MathVerifier) -> None:
    assert [pair for pair, correct in judged(verifier, RIGHT).items() if correct is not True] == []
    golds = {pair.split(" <- ")[0] for pair in RIGHT.strip().splitlines()}
    assert [gold for gold in sorted(golds) if verifier.check_gold(Problem("m", "?", gold, "math"))] == []


@pytest.mark.parametrize("half", [0, 1])
def test_wrong_answers_are_refused(verifier: MathVerifier, half: int) -> None:
    rows = WRONG.strip().splitlines()[half::2]
    assert [pair for pair, correct in judged(verifier, "\n".join(rows)).items() if correct is not False] == []

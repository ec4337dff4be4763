// The gates of an LSTM layer, forwards and backwards, in one pass each.
//
// Formulas, the order i, f, o, j and the opposite sign of the first three are those of _lstm_cell.py. A layer of H units
// has n = H N cells for N coordinates: z is (4, n), everything else (n), all contiguous, and no two overlap.
//
// For CUDA these are kernels: a thread takes one cell, and the next one a whole grid further on, so that neighbours
// read neighbours. For any other C++ compiler they are functions of the same names and arguments; the place in the
// grid, one thread of one block unless the caller says otherwise, is then a variable.

#ifdef __CUDACC__
#define CELL __host__ __device__ inline
#define PLACE __device__ inline
#define KERNEL extern "C" __global__ void
#else
#include <cmath>
using std::exp;
using std::tanh;
#define CELL inline
#define PLACE inline
#define KERNEL extern "C" void
struct Extent {
  unsigned x;
};
extern "C" {
Extent gridDim = {1}, blockDim = {1}, blockIdx = {0}, threadIdx = {0};
}
#endif

PLACE long long first_cell() { return blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; }
PLACE long long stride() { return gridDim.x * static_cast<long long>(blockDim.x); }

template <typename Real>
struct Four {
  Real i, f, o, j;
};

template <typename Real>
CELL Four<Real> load(const Real* z, long long n, long long m) {
  return {z[m], z[n + m], z[2 * n + m], z[3 * n + m]};
}

template <typename Real>
CELL void store(Four<Real> four, Real* z, long long n, long long m) {
  z[m] = four.i;
  z[n + m] = four.f;
  z[2 * n + m] = four.o;
  z[3 * n + m] = four.j;
}

// sigma(-z) = 1 / (1 + exp(z)) for i, f and o, tanh(z) for j.
template <typename Real>
CELL Four<Real> gates_of(Four<Real> z) {
  const Real one = 1;
  return {one / (exp(z.i) + one), one / (exp(z.f) + one), one / (exp(z.o) + one), tanh(z.j)};
}

// d sigma(-z)/dz from the gate itself.
template <typename Real>
CELL Real slope(Real gate) {
  return (gate - Real(1)) * gate;
}

// The adjoint of z from dh and from dc, the whole adjoint of c'; t = tanh(c').
template <typename Real>
CELL Four<Real> adjoint_of_z(Four<Real> gate, Real c, Real t, Real dh, Real dc) {
  return {slope(gate.i) * gate.j * dc, slope(gate.f) * c * dc, slope(gate.o) * t * dh,
          (Real(1) - gate.j * gate.j) * gate.i * dc};
}

// z becomes the gates; c' = f c + i j, h = o tanh(c').
template <typename Real>
PLACE void open_gates(long long n, Real* z, const Real* c, Real* c_next, Real* h) {
  for (long long m = first_cell(); m < n; m += stride()) {
    const Four<Real> gate = gates_of(load(z, n, m));
    const Real next = gate.f * c[m] + gate.i * gate.j;
    store(gate, z, n, m);
    c_next[m] = next;
    h[m] = gate.o * tanh(next);
  }
}

// The gates become the adjoint of z; dc, on entry what comes to c' from later steps, becomes the adjoint of c.
template <typename Real>
PLACE void close_gates(long long n, Real* z, const Real* c, const Real* c_next, const Real* dh, Real* dc) {
  for (long long m = first_cell(); m < n; m += stride()) {
    const Four<Real> gate = load(z, n, m);
    const Real t = tanh(c_next[m]);
    const Real whole = dc[m] + dh[m] * gate.o * (Real(1) - t * t);
    store(adjoint_of_z(gate, c[m], t, dh[m], whole), z, n, m);
    dc[m] = whole * gate.f;
  }
}

KERNEL open_gates_float32(long long n, float* z, const float* c, float* c_next, float* h) {
  open_gates(n, z, c, c_next, h);
}

KERNEL open_gates_float64(long long n, double* z, const double* c, double* c_next, double* h) {
  open_gates(n, z, c, c_next, h);
}

KERNEL close_gates_float32(long long n, float* z, const float* c, const float* c_next, const float* dh, float* dc) {
  close_gates(n, z, c, c_next, dh, dc);
}

KERNEL close_gates_float64(long long n, double* z, const double* c, const double* c_next, const double* dh,
                           double* dc) {
  close_gates(n, z, c, c_next, dh, dc);
}

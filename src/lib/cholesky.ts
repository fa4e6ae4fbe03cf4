/**
 * Solves matrix x = right for a symmetric positive definite matrix, of which only the lower triangle (row-major, n x n) is
 * read. Works in place and returns `right`; x holds NaN where the matrix is not positive definite.
 */
export function solvePositive<T extends Float64Array>(matrix: Float64Array, right: T): T {
  const n = right.length;
  const at = (row: number, column: number) => row * n + column;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[at(i, j)]!;
      for (let k = 0; k < j; k++) sum -= matrix[at(i, k)]! * matrix[at(j, k)]!;
      matrix[at(i, j)] = i === j ? Math.sqrt(sum) : sum / matrix[at(j, j)]!;
    }
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) right[i]! -= matrix[at(i, k)]! * right[k]!;
    right[i]! /= matrix[at(i, i)]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) right[i]! -= matrix[at(k, i)]! * right[k]!;
    right[i]! /= matrix[at(i, i)]!;
  }
  return right;
}

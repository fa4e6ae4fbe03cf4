/** Thrown out of every call that a dead daemon's code still makes: nothing of it reaches the world any more. */
export class Killed extends Error {
  constructor() {
    super('this daemon was killed');
  }
}

/**
 * One life of the daemon as the world around it sees it. Everything that it can do to the world crosses a boundary: a
 * write, a system call, an answer. A kill falls before or after any such crossing; between two of them it would change
 * nothing. What a dead daemon's code goes on to do ends at the next boundary.
 */
export class Life {
  readonly number: number;
  #fuse = Number.POSITIVE_INFINITY;
  #dead = false;
  readonly #onDeath: (life: Life) => void;

  constructor(number: number, onDeath: (life: Life) => void) {
    this.number = number;
    this.#onDeath = onDeath;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** Dies at the boundary that is this many crossings ahead. */
  light(crossings: number): void {
    this.#fuse = crossings;
  }

  kill(): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#onDeath(this);
  }

  /** True when the crossing takes place. */
  crosses(): boolean {
    if (!this.#dead && --this.#fuse < 0) this.kill();
    return !this.#dead;
  }

  /** For system calls. */
  cross(): void {
    if (!this.crosses()) throw new Killed();
  }
}

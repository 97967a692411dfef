// Bounded concurrency: the one place where the page limits how much it does at once.

/**
 * Does `work` on whatever `next` returns, at most `limit` items at a time.
 * @template Item
 */
export class Pool {
  #busy = 0;

  /**
   * @param {number} limit
   * @param {() => Item | undefined} next
   * @param {(item: Item) => Promise<void>} work
   */
  constructor(limit, next, work) {
    this.limit = limit;
    this.next = next;
    this.work = work;
  }

  /**
   * Work until `next` returns undefined. Call it again whenever there is more to do: `work` may do so too. Resolves
   * once everything is done that this call began, and rejects with the first error.
   */
  async run() {
    const lanes = [];
    for (let free = this.limit - this.#busy; free > 0; free -= 1) lanes.push(this.#runLane());
    await Promise.all(lanes);
  }

  async #runLane() {
    this.#busy += 1;
    try {
      for (let item = this.next(); item !== undefined; item = this.next()) await this.work(item);
    } finally {
      this.#busy -= 1;
    }
  }
}

/** The time between two expositions. */

// The wall clock can be set by less than this.
const leastSleep = 2_000

/**
 * Milliseconds that also pass while the machine sleeps. On some systems, `performance.now()` stands still meanwhile. The
 * wall clock alone could be set back.
 */
export const sleepingClock = (
  monotonic: () => number = () => performance.now(),
  wall: () => number = () => Date.now()
): (() => number) => {
  let slept = 0
  let [lastMonotonic, lastWall] = [monotonic(), wall()]
  return () => {
    const [now, at] = [monotonic(), wall()]
    const ahead = at - lastWall - (now - lastMonotonic)
    if (ahead > leastSleep) slept += ahead
    lastMonotonic = now
    lastWall = at
    return now + slept
  }
}

// One value that changes, and those who want to know.

import { useEffect, useState } from 'preact/hooks'

export class Store<T> {
  private readonly listeners = new Set<() => void>()

  constructor(private value: T) {}

  get(): T {
    return this.value
  }

  set(value: T): void {
    this.value = value
    for (const listener of this.listeners) listener()
  }

  change(part: Partial<T>): void {
    this.set({ ...this.value, ...part })
  }

  listen(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
}

export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useState(0)
  useEffect(() => {
    // What changed between drawing and listening must not be missed.
    redraw((n) => n + 1)
    return store.listen(() => redraw((n) => n + 1))
  }, [store])
  return store.get()
}

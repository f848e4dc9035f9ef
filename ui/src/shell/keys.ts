/** Shortcuts, as the platform writes them. */

const isApple = /Mac|iPhone|iPad/.test(navigator.platform);

export const keyNames = {
  execute: isApple ? "⌘↵" : "Ctrl+Enter",
  detect: isApple ? "⌘⇧↵" : "Ctrl+Shift+Enter",
  modifier: isApple ? "⌘" : "Ctrl",
} as const;

export function hasModifier(event: KeyboardEvent): boolean {
  return isApple ? event.metaKey : event.ctrlKey;
}

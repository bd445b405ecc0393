/** What a client may ask for, and the sentence that it gets otherwise. */

export interface UploadRequest {
  readonly key: string;
  readonly fileName: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly keywords: readonly string[];
}

export const keywordsMax = 100;
export const keywordCharactersMax = 100;
const fileNameCharactersMax = 255;
const keyPattern = /^[A-Za-z0-9._-]{16,200}$/;
const idPattern = /^[a-z2-7]{20}$/;
const sha256Pattern = /^[0-9a-f]{64}$/;
const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** What is wrong with an upload's header, or nothing. */
export function uploadProblem({ key, fileName, bytes, sha256, keywords }: UploadRequest, bytesMax: number): string | undefined {
  if (!keyPattern.test(key)) return `the key is ${shown(key)}: it must be 16 to 200 characters of A-Z a-z 0-9 . _ -`;
  if (fileName.length > fileNameCharactersMax || controlCharacters.test(fileName))
    return `the file's name is ${shown(fileName)}: it must have at most ${fileNameCharactersMax} characters, and no control characters`;
  if (!sha256Pattern.test(sha256)) return 'the SHA-256 must have 32 bytes';
  if (bytes === 0) return 'the file is empty: there is no picture in it';
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > bytesMax)
    return `the file has ${bytes} bytes: at most ${bytesMax} are taken here (--limit-bytes of the server)`;
  return keywordsProblem(keywords);
}

export function keywordsProblem(keywords: readonly string[]): string | undefined {
  if (keywords.length === 0) return 'there are no keywords: at least one is needed to mark the picture with';
  if (keywords.length > keywordsMax) return `there are ${keywords.length} keywords: at most ${keywordsMax} are taken`;
  const wrong = keywords.find(
    (keyword) => keyword.trim() === '' || [...keyword].length > keywordCharactersMax || controlCharacters.test(keyword),
  );
  if (wrong === undefined) return undefined;
  return `a keyword is ${shown(wrong)}: it must have 1 to ${keywordCharactersMax} characters, and no control characters`;
}

/** What is wrong with an id, or nothing. What passes can stand in a path. */
export function idProblem(id: string): string | undefined {
  return idPattern.test(id) ? undefined : `the id is ${shown(id)}: ids have 20 characters of a-z and 2-7`;
}

/** Quoted and cut: it may be anything. */
const shown = (text: string): string => (text.length > 60 ? `${JSON.stringify(text.slice(0, 60))}...` : JSON.stringify(text));

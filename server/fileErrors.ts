import { LoftError } from '../contract/errors';

/** The `code` of a failed system call, such as `ENOENT`. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** What a failed file operation means to the person whose data folder it is. Anything unexpected stays as it is. */
export function fileError(error: unknown, file: string): unknown {
  if (error instanceof LoftError) return error;
  const refuse = (code: string, detail: string) => new LoftError(500, code, detail, { cause: error });
  switch (systemCode(error)) {
    case 'EROFS':
      return refuse('data_folder_read_only', `${file} is on a read-only file system. Name another folder with --data.`);
    case 'EACCES':
    case 'EPERM':
      return refuse(
        'data_folder_forbidden',
        `${file} may not be written by this account. Change its owner or its mode, or name another folder with --data.`,
      );
    case 'ENOSPC':
    case 'EDQUOT':
      return refuse(
        'disk_full',
        `There is no space left for ${file}. Free some, or name a folder on another disk with --data.`,
      );
    case 'ENOTDIR':
    case 'EEXIST':
      return refuse(
        'data_folder_not_a_folder',
        `${file} is not a folder, or one of its parents is a file. Name a folder with --data.`,
      );
    case 'ENAMETOOLONG':
      return refuse(
        'data_folder_name_too_long',
        `${file} is longer than this file system allows. Name a shorter path with --data.`,
      );
    default:
      return error;
  }
}

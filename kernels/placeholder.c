/* Replaced by the first kernel file. */
typedef int rl_placeholder;

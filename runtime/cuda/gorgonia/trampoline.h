// What the library that was found, or not, has said.
const char *qnc_cuda_missing(void);  // "": there is one
int qnc_cuda_result(void);           // of its cuInit
